//! The contract suite, on the outbox in memory, on the sample of the docs, and on outboxes that are
//! broken on purpose.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use tower_webhook::{
    BoxError, DeliveryId, Payload, RequestId,
    endpoint::Host,
    outbox::{
        DeliveryFilter, DeliveryRecord, DeliveryState, DueDeliveries, Envelope, Lease, Limits,
        MemoryOutbox, NewDelivery, Outbox, Page, Sealing, SettleOutcome, Settlement,
        StoredDelivery, Verdict, Want,
    },
    testing,
};

#[expect(unreachable_pub, reason = "it is written for the docs")]
#[rustfmt::skip]
#[path = "../src/outbox/sample.rs"]
mod sample;

#[tokio::test(start_paused = true)]
async fn the_outbox_in_memory_keeps_the_contract() {
    testing::check(async || MemoryOutbox::new()).await;
    testing::check(async || MemoryOutbox::new().with_history_payloads()).await;
    testing::check(async || MemoryOutbox::new().with_max_history(0)).await;
}

/// The suite admits one that cannot.
#[tokio::test(start_paused = true)]
async fn the_outbox_in_memory_tells_the_oldest() {
    let outbox = MemoryOutbox::new();
    let stored = StoredDelivery::new(
        DeliveryId::fresh(),
        RequestId::parse("run_1").unwrap(),
        Host::from("a.example"),
        None,
        SystemTime::now(),
        Envelope::from_bytes(vec![1]),
        Payload::from("done"),
    );
    let new = NewDelivery::new(stored, false);
    outbox.insert(vec![new]).await.unwrap();
    let minute = Duration::from_secs(60);
    tokio::time::advance(minute).await;
    assert_eq!(outbox.oldest_due().await.unwrap(), Some(minute));
}

#[tokio::test(start_paused = true)]
async fn the_sample_of_the_docs_keeps_the_contract() {
    testing::check(async || sample::MapOutbox::default()).await;
}

#[test]
fn the_sample_of_the_docs_is_short() {
    let sample = include_str!("../src/outbox/sample.rs");
    assert!(sample.lines().filter(|line| !line.is_empty()).count() < 100);
    assert!(sample.lines().all(|line| line.len() <= 100));
}

/// What an outbox does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    NoLeases,
    LeasesInAnotherOrder,
    InsertLeasesNothing,
    InsertTwice,
    MoreThanWanted,
    MoreBytesThanWanted,
    SaturatedHostsFirst,
    OtherHostsToo,
    NeverMore,
    AnotherPayload,
    AlwaysTheFirstAttempt,
    AgainAtOnce,
    DeliveredStays,
    PutOffIsTheNextAttempt,
    PutOffIsDueAtOnce,
    ForgottenIsListed,
    DeadIsDue,
    ReleasedIsTheNextAttempt,
    NoLeaseIsLost,
    AnswersInAnotherOrder,
    OneTokenForAll,
    CloseForgets,
    OldestFirst,
    PageAgainAndAgain,
    AnotherIsFound,
    RedeliversAHundred,
    CancelsWhatIsLeased,
    FetchLosesWhatItLeased,
    FailsNowAndThen,
    ForgetsEveryTenth,
    RunIsDue,
    RunStays,
    RunKeepsItsLease,
    RunOutlivesItsEnd,
    RunIsForgotten,
    NoticeStays,
    CloseLosesRuns,
    DeliveredIsListedAsWaiting,
    DeliveredIsSentAgain,
    LeasedIsOldest,
    LaterIsOldest,
}

impl Fault {
    const ALL: [Self; 41] = [
        Self::NoLeases,
        Self::LeasesInAnotherOrder,
        Self::InsertLeasesNothing,
        Self::InsertTwice,
        Self::MoreThanWanted,
        Self::MoreBytesThanWanted,
        Self::SaturatedHostsFirst,
        Self::OtherHostsToo,
        Self::NeverMore,
        Self::AnotherPayload,
        Self::AlwaysTheFirstAttempt,
        Self::AgainAtOnce,
        Self::DeliveredStays,
        Self::PutOffIsTheNextAttempt,
        Self::PutOffIsDueAtOnce,
        Self::ForgottenIsListed,
        Self::DeadIsDue,
        Self::ReleasedIsTheNextAttempt,
        Self::NoLeaseIsLost,
        Self::AnswersInAnotherOrder,
        Self::OneTokenForAll,
        Self::CloseForgets,
        Self::OldestFirst,
        Self::PageAgainAndAgain,
        Self::AnotherIsFound,
        Self::RedeliversAHundred,
        Self::CancelsWhatIsLeased,
        Self::FetchLosesWhatItLeased,
        Self::FailsNowAndThen,
        Self::ForgetsEveryTenth,
        Self::RunIsDue,
        Self::RunStays,
        Self::RunKeepsItsLease,
        Self::RunOutlivesItsEnd,
        Self::RunIsForgotten,
        Self::NoticeStays,
        Self::CloseLosesRuns,
        Self::DeliveredIsListedAsWaiting,
        Self::DeliveredIsSentAgain,
        Self::LeasedIsOldest,
        Self::LaterIsOldest,
    ];
}

struct Broken {
    inner: MemoryOutbox,
    fault: Fault,
    calls: AtomicUsize,
    /// The real tokens, where the lease tells another one.
    tokens: Mutex<HashMap<DeliveryId, u64>>,
    /// What was kept of runs, and their leases.
    runs: Mutex<HashMap<DeliveryId, (StoredDelivery, Option<Lease>)>>,
}

impl Broken {
    fn new(fault: Fault) -> Self {
        Self {
            inner: MemoryOutbox::new().with_history_payloads(),
            fault,
            calls: AtomicUsize::new(0),
            tokens: Mutex::default(),
            runs: Mutex::default(),
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn count(&self) -> usize {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    fn disguised(&self, lease: Lease) -> Lease {
        if !self.has(Fault::OneTokenForAll) {
            return lease;
        }
        self.tokens
            .lock()
            .unwrap()
            .insert(lease.delivery, lease.token);
        Lease::new(lease.delivery, 1)
    }

    fn run(&self, id: DeliveryId) -> Option<(StoredDelivery, Option<Lease>)> {
        self.runs.lock().unwrap().get(&id).cloned()
    }

    fn is_run(&self, lease: Lease) -> bool {
        let run = self.run(lease.delivery);
        run.is_some_and(|(_, run)| run == Some(lease))
    }

    fn real(&self, lease: Lease) -> Lease {
        let tokens = self.tokens.lock().unwrap();
        let token = tokens.get(&lease.delivery).filter(|_| lease.token == 1);
        Lease::new(lease.delivery, *token.unwrap_or(&lease.token))
    }
}

impl Outbox for Broken {
    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn sealing(&self) -> Sealing {
        self.inner.sealing()
    }

    async fn insert(&self, mut batch: Vec<NewDelivery>) -> Result<Vec<Option<Lease>>, BoxError> {
        if self.has(Fault::FailsNowAndThen) && self.count() % 3 == 2 {
            return Err("not this time".into());
        }
        let number = batch.len();
        if self.has(Fault::ForgetsEveryTenth) && self.count() % 10 == 9 {
            batch.pop();
        }
        if self.has(Fault::InsertTwice) {
            for new in &mut batch {
                let is_known = self.inner.get(new.stored.id).await?.is_some();
                if is_known {
                    new.stored.id = DeliveryId::fresh();
                }
            }
        }
        if self.has(Fault::RunStays) && self.run(batch[0].stored.id).is_some() {
            return Ok(vec![None]);
        }
        let run = self.run(batch[0].stored.id);
        if self.has(Fault::NoticeStays)
            && let Some((notice, _)) = &run
            && let Some(record) = self.inner.get(notice.id).await?
            && record.state != DeliveryState::Running
        {
            batch[0].stored = notice.clone();
        }
        let asked: Vec<_> = batch
            .iter()
            .map(|new| new.lease.then(|| Lease::new(new.stored.id, 7)))
            .collect();
        if self.has(Fault::InsertLeasesNothing) || self.has(Fault::NoLeases) {
            batch.iter_mut().for_each(|new| new.lease = false);
        }
        let mut leases = self.inner.insert(batch).await?;
        if self.has(Fault::InsertLeasesNothing) {
            leases = asked;
        }
        if self.has(Fault::LeasesInAnotherOrder) {
            leases.reverse();
        }
        if self.has(Fault::RunKeepsItsLease) && run.is_some() {
            leases = vec![run.and_then(|(_, lease)| lease)];
        }
        leases.resize(number, None);
        let leases = leases.into_iter();
        Ok(leases
            .map(|lease| lease.map(|lease| self.disguised(lease)))
            .collect())
    }

    async fn begin(&self, runs: Vec<NewDelivery>) -> Result<Vec<Option<Lease>>, BoxError> {
        let kept = runs.clone();
        let leases = self.inner.begin(runs).await?;
        for (run, lease) in kept.into_iter().zip(&leases) {
            let mut runs = self.runs.lock().unwrap();
            runs.insert(run.stored.id, (run.stored, *lease));
        }
        if self.has(Fault::RunIsDue) {
            let leases = leases.iter().flatten();
            let release = |lease: &Lease| Settlement::new(*lease, Verdict::Released, None);
            self.inner.settle(leases.map(release).collect()).await?;
        }
        Ok(leases)
    }

    async fn fetch(&self, mut want: Want) -> Result<DueDeliveries, BoxError> {
        if self.has(Fault::FailsNowAndThen) && self.count() % 3 == 2 {
            return Err("not this time".into());
        }
        if self.has(Fault::MoreThanWanted) {
            want.deliveries = want.deliveries.saturating_add(1);
        }
        if self.has(Fault::MoreBytesThanWanted) {
            want.bytes = usize::MAX;
        }
        if self.has(Fault::SaturatedHostsFirst) {
            want.of_host.clear();
        }
        if self.has(Fault::OtherHostsToo) {
            want.of_other_hosts = want.of_other_hosts.max(1);
        }
        let mut due = self.inner.fetch(want).await?;
        if self.has(Fault::FetchLosesWhatItLeased) {
            tokio::task::yield_now().await;
        }
        if self.has(Fault::NeverMore) {
            due.more = false;
        }
        for leased in &mut due.deliveries {
            if self.has(Fault::AnotherPayload) {
                leased.stored.payload = Payload::from("another");
            }
            if self.has(Fault::AlwaysTheFirstAttempt) {
                leased.attempt = 1;
            }
            leased.lease = self.disguised(leased.lease);
        }
        Ok(due)
    }

    async fn settle(&self, mut batch: Vec<Settlement>) -> Result<Vec<SettleOutcome>, BoxError> {
        for settlement in &mut batch {
            settlement.lease = self.real(settlement.lease);
            let is_run = self.is_run(settlement.lease);
            settlement.verdict = match (self.fault, settlement.verdict) {
                (Fault::RunOutlivesItsEnd, Verdict::Forgotten | Verdict::Failed(_)) if is_run => {
                    Verdict::Released
                }
                (Fault::RunIsForgotten, Verdict::Released) if is_run => Verdict::Forgotten,
                (Fault::PutOffIsTheNextAttempt, Verdict::PutOff(delay)) => Verdict::AgainIn(delay),
                (Fault::PutOffIsDueAtOnce, Verdict::PutOff(_)) => Verdict::Released,
                (Fault::ForgottenIsListed, Verdict::Forgotten) if !is_run => Verdict::Delivered,
                (Fault::AgainAtOnce, Verdict::AgainIn(_))
                | (Fault::DeadIsDue, Verdict::Dead(_))
                | (Fault::ReleasedIsTheNextAttempt, Verdict::Released) => {
                    Verdict::AgainIn(Duration::ZERO)
                }
                (Fault::DeliveredStays, Verdict::Delivered) => Verdict::Released,
                (_, verdict) => verdict,
            };
        }
        let mut settled = self.inner.settle(batch).await?;
        if self.has(Fault::NoLeaseIsLost) {
            settled.fill(SettleOutcome::Done);
        }
        if self.has(Fault::AnswersInAnotherOrder) {
            settled.reverse();
        }
        Ok(settled)
    }

    async fn renew(&self, leases: Vec<Lease>) -> Result<Vec<Lease>, BoxError> {
        self.inner.renew(leases).await
    }

    async fn oldest_due(&self) -> Result<Option<Duration>, BoxError> {
        let oldest = self.inner.oldest_due().await?;
        let mut all = self
            .inner
            .list(DeliveryFilter::new(), Page::first(1))
            .await?;
        let waiting = all.pop().filter(|one| one.state == DeliveryState::Waiting);
        let is_tried = waiting.as_ref().is_some_and(|one| !one.attempts.is_empty());
        let is_wrong = match self.fault {
            Fault::LeasedIsOldest => waiting.is_some() && !is_tried,
            Fault::LaterIsOldest => is_tried,
            _ => false,
        };
        Ok(oldest.or(is_wrong.then_some(Duration::ZERO)))
    }

    async fn close(&self) -> Result<Vec<StoredDelivery>, BoxError> {
        let mut left = self.inner.close().await?;
        if self.has(Fault::CloseLosesRuns) {
            let mut runs = self.runs.lock().unwrap();
            left.extend(runs.drain().map(|(_, (stored, _))| stored));
        }
        if self.has(Fault::CloseForgets) {
            left.pop();
        }
        Ok(left)
    }

    async fn list(
        &self,
        filter: DeliveryFilter,
        mut page: Page,
    ) -> Result<Vec<DeliveryRecord>, BoxError> {
        if self.has(Fault::PageAgainAndAgain) && self.count() % 2 == 1 {
            page = Page::first(page.at_most());
        }
        if self.has(Fault::DeliveredIsListedAsWaiting) {
            let mut all = self.inner.list(DeliveryFilter::new(), page).await?;
            let delivered = all.iter_mut();
            delivered
                .filter(|record| record.state == DeliveryState::Delivered)
                .for_each(|record| record.state = DeliveryState::Waiting);
            all.retain(|record| filter.lets_through(record));
            return Ok(all);
        }
        let mut records = self.inner.list(filter, page).await?;
        if self.has(Fault::OldestFirst) {
            records.reverse();
        }
        Ok(records)
    }

    async fn get(&self, id: DeliveryId) -> Result<Option<DeliveryRecord>, BoxError> {
        if self.has(Fault::AnotherIsFound) {
            let all = self
                .inner
                .list(DeliveryFilter::new(), Page::first(9))
                .await?;
            return Ok(all.into_iter().next_back());
        }
        self.inner.get(id).await
    }

    async fn payload(&self, id: DeliveryId) -> Result<Option<Payload>, BoxError> {
        self.inner.payload(id).await
    }

    async fn redeliver(&self, filter: DeliveryFilter) -> Result<usize, BoxError> {
        if self.has(Fault::DeliveredIsSentAgain) {
            let delivered = filter.clone().with_state(DeliveryState::Delivered);
            let number = self.inner.redeliver(delivered).await?;
            return Ok(number + self.inner.redeliver(filter).await?);
        }
        if !self.has(Fault::RedeliversAHundred) {
            return self.inner.redeliver(filter).await;
        }
        let hundred = self.inner.list(filter, Page::first(100)).await?;
        let mut number = 0;
        for record in hundred {
            let one = DeliveryFilter::new().with_id(record.id);
            number += self.inner.redeliver(one).await?;
        }
        Ok(number)
    }

    async fn cancel(&self, filter: DeliveryFilter) -> Result<usize, BoxError> {
        if self.has(Fault::CancelsWhatIsLeased) {
            let all = self.inner.list(filter.clone(), Page::first(9_999)).await?;
            self.inner.close().await?;
            return Ok(all.len());
        }
        self.inner.cancel(filter).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_outbox_that_is_not_broken_passes() {
    testing::check(async || Broken::new(Fault::None)).await;
}

#[tokio::test(start_paused = true)]
async fn each_outbox_that_is_broken_is_found_out() {
    for fault in Fault::ALL {
        let violations = testing::violations(async || Broken::new(fault)).await;
        assert!(!violations.is_empty(), "nothing is wrong with {fault:?}");
        println!("{fault:?}: {} rules", violations.len());
    }
}
