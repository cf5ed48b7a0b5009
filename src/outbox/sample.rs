use std::{collections::BTreeMap, sync::Mutex};

use tokio::time::Instant;
use tower_webhook::{BoxError, DeliveryId, outbox::*};

#[derive(Default)]
pub struct MapOutbox(Mutex<Rows>);

#[derive(Default)]
struct Rows {
    by_id: BTreeMap<DeliveryId, Row>,
    tokens: u64,
}

struct Row {
    stored: StoredDelivery,
    attempt: u32,
    due: Option<Instant>, // none for a dead letter
    token: u64,           // of its lease; 0 where nobody has it
}

impl Outbox for MapOutbox {
    fn limits(&self) -> Limits {
        Limits::new(Durability::Memory)
    }

    fn sealing(&self) -> Sealing {
        Sealing::in_memory()
    }

    async fn insert(&self, batch: Vec<NewDelivery>) -> Result<Vec<Option<Lease>>, BoxError> {
        let mut rows = self.0.lock().unwrap();
        let leases = batch.into_iter().map(|NewDelivery { stored, lease, .. }| {
            let (id, due) = (stored.id, Some(Instant::now()));
            let new = Row { stored, attempt: 1, due, token: 0 };
            let is_free = rows.by_id.entry(id).or_insert(new).token == 0;
            (lease && is_free).then(|| rows.lease(id))
        });
        Ok(leases.collect())
    }

    async fn fetch(&self, want: Want) -> Result<DueDeliveries, BoxError> {
        let mut rows = self.0.lock().unwrap();
        let free = rows.by_id.values().filter(|row| row.token == 0);
        let mut due: Vec<_> = free.filter_map(|row| Some((row.due?, row.stored.id))).collect();
        due.sort_unstable();
        let (now, mut bytes, mut of_hosts) = (Instant::now(), 0, BTreeMap::new());
        let mut found = DueDeliveries::default();
        for (due, id) in due {
            let stored = rows.by_id[&id].stored.clone();
            let of_host: &mut usize = of_hosts.entry(stored.host.to_string()).or_default();
            if due > now {
                found.next_due = Some(due - now);
                break;
            } else if found.deliveries.len() >= want.deliveries || bytes >= want.bytes {
                found.more = true;
                break;
            } else if *of_host >= want.of(&stored.host) {
                found.more = true;
                continue;
            }
            *of_host += 1;
            bytes += stored.payload.len();
            let (lease, attempt) = (rows.lease(id), rows.by_id[&id].attempt);
            found.deliveries.push(LeasedDelivery::new(lease, attempt, stored));
        }
        Ok(found)
    }

    async fn settle(&self, batch: Vec<Settlement>) -> Result<Vec<SettleOutcome>, BoxError> {
        let mut rows = self.0.lock().unwrap();
        Ok(batch.iter().map(|settlement| rows.settle(settlement)).collect())
    }

    async fn renew(&self, _: Vec<Lease>) -> Result<Vec<Lease>, BoxError> {
        Ok(Vec::new()) // here a lease runs for as long as the process lives
    }

    async fn close(&self) -> Result<Vec<StoredDelivery>, BoxError> {
        let rows = std::mem::take(&mut self.0.lock().unwrap().by_id).into_values();
        Ok(rows.filter(|row| row.due.is_some()).map(|row| row.stored).collect())
    }
}

impl Rows {
    fn lease(&mut self, id: DeliveryId) -> Lease {
        self.tokens += 1;
        self.by_id.get_mut(&id).expect("it is there").token = self.tokens;
        Lease::new(id, self.tokens)
    }

    fn settle(&mut self, settlement: &Settlement) -> SettleOutcome {
        let Lease { delivery: id, token, .. } = settlement.lease;
        let Some(row) = self.by_id.get_mut(&id).filter(|row| row.token == token) else {
            return SettleOutcome::LeaseLost;
        };
        row.token = 0;
        match settlement.verdict {
            Verdict::Delivered | Verdict::Failed(_) | Verdict::Forgotten => {
                self.by_id.remove(&id);
            }
            Verdict::AgainIn(delay) => {
                row.attempt += 1;
                row.due = Some(Instant::now() + delay);
            }
            Verdict::PutOff(delay) => row.due = Some(Instant::now() + delay),
            Verdict::Dead(_) => row.due = None,
            Verdict::Released => {} // due as it was
        }
        SettleOutcome::Done
    }
}
