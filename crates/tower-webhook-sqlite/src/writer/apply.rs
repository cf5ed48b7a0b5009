//! What each command does, within the transaction of its group.

use bytes::Bytes;
use tower_webhook::outbox::{
    DeliveryFilter, DeliveryState, DueDeliveries, Lease, LeasedDelivery, SettleOutcome, Want,
};

use super::Writer;
use crate::{
    command::Command,
    sweep::{Progress, Sweep},
};

/// What a command came to. It is told once the group is on the disk.
pub(super) enum Done {
    Inserted(Vec<Option<Lease>>),
    Fetched(DueDeliveries),
    Settled(Vec<SettleOutcome>),
    Lost(Vec<Lease>),
    /// Some more were changed.
    Swept(Progress),
    Closed,
    /// It goes on with the next group.
    Unfinished,
    /// It was not carried out, as the file is full.
    NoRoom,
    /// Nobody waits for it any more.
    Nothing,
}

impl Writer<'_> {
    pub(super) fn apply(&mut self, command: &Command, now: i64) -> rusqlite::Result<Done> {
        if command.is_abandoned() {
            return Ok(Done::Nothing);
        }
        Ok(match command {
            Command::Insert(batch, _) => {
                if batch.iter().any(|new| new.lease) {
                    self.owner.beat_if_due(now)?;
                }
                let Self {
                    insert,
                    owner,
                    settle,
                    ..
                } = self;
                let dead = &mut settle.more_dead;
                let leases = batch.iter().map(|new| insert.run(new, owner, dead, now));
                Done::Inserted(leases.collect::<rusqlite::Result<_>>()?)
            }
            Command::Begin(batch, _) => {
                self.owner.beat_if_due(now)?;
                let Self { insert, owner, .. } = self;
                let leases = batch.iter().map(|run| insert.begin(run, owner, now));
                Done::Inserted(leases.collect::<rusqlite::Result<_>>()?)
            }
            Command::Fetch(want, _) => self.fetch(want, now)?,
            Command::Settle(batch, _) => {
                Done::Settled(self.settle.run_all(batch, &mut self.history, now)?)
            }
            Command::Renew(leases, _) => {
                self.owner.beat(now)?;
                let mut lost = Vec::new();
                for &lease in leases {
                    if !self.settle.holds(lease)? {
                        lost.push(lease);
                    }
                }
                Done::Lost(lost)
            }
            Command::Redeliver(Sweep {
                filter, progress, ..
            }) => Done::Swept(self.redeliver(filter, *progress, now)?),
            Command::Cancel(Sweep {
                filter, progress, ..
            }) => Done::Swept(self.settle.cancel(filter, *progress)?),
            Command::Close(_) => match self.owner.leave()? {
                true => Done::Unfinished,
                false => Done::Closed,
            },
        })
    }

    fn redeliver(
        &mut self,
        filter: &DeliveryFilter,
        progress: Progress,
        now: i64,
    ) -> rusqlite::Result<Progress> {
        match filter.state() {
            None | Some(DeliveryState::Dead) => self.settle.revive(filter, progress, now),
            Some(DeliveryState::Delivered | DeliveryState::Failed) => {
                self.settle
                    .revive_history(filter, progress, &mut self.history, now)
            }
            // Those are on their way.
            Some(_) => Ok(progress.end()),
        }
    }

    fn fetch(&mut self, want: &Want, now: i64) -> rusqlite::Result<Done> {
        let choice = self.fetch.choose(want, &self.lease.damaged, now)?;
        if choice.is_unfinished {
            return Ok(Done::Unfinished);
        }
        let mut found = DueDeliveries::default();
        found.more = choice.has_left_some;
        if choice.rows.is_empty() {
            found.next_due = self.fetch.until_next_due(now)?;
        } else {
            // Before anything is leased in its name.
            self.owner.beat_if_due(now)?;
        }
        let mut bytes = 0;
        for seq in choice.rows {
            // The column may say less than there is.
            if bytes >= want.bytes {
                found.more = true;
                break;
            }
            let leased = self.lease.run(seq, &mut self.owner, now)?;
            bytes += leased.as_ref().map_or(0, size);
            found.deliveries.extend(leased);
        }
        Ok(Done::Fetched(found))
    }
}

/// What a delivery takes of memory, as far as that depends on it.
fn size(leased: &LeasedDelivery) -> usize {
    let envelope = leased.stored.envelope.bytes();
    leased.stored.payload.len() + envelope.map_or(0, Bytes::len)
}
