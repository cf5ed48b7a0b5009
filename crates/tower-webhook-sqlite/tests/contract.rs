//! The contract suite of tower-webhook.

use std::time::Duration;

use tempfile::TempDir;
use tower_webhook::{
    BoxError,
    outbox::{
        DueDeliveries, Lease, Limits, NewDelivery, Outbox, Sealing, SealingKey, SettleOutcome,
        Settlement, StoredDelivery, Verdict, Want,
    },
    testing,
};
use tower_webhook_sqlite::SqliteOutbox;

const LEASE: Duration = Duration::from_secs(3);

fn open(folder: &TempDir) -> SqliteOutbox {
    SqliteOutbox::builder(folder.path().join("webhooks.db"))
        .with_key(SealingKey::from_bytes([7; 32]))
        .with_lease(LEASE)
        .open()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract() {
    let folders = std::sync::Mutex::new(Vec::new());
    testing::check(async || {
        let folder = tempfile::tempdir().unwrap();
        let outbox = open(&folder);
        folders.lock().unwrap().push(folder);
        outbox
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_of_shared_outboxes() {
    let make = async || tempfile::tempdir().unwrap();
    testing::check_shared(make, async |folder| open(folder)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_with_payloads_in_its_history() {
    let folders = std::sync::Mutex::new(Vec::new());
    testing::check(async || {
        let folder = tempfile::tempdir().unwrap();
        let outbox = SqliteOutbox::builder(folder.path().join("webhooks.db"))
            .with_key(SealingKey::from_bytes([7; 32]))
            .with_history_payloads()
            .with_lease(LEASE)
            .open()
            .unwrap();
        folders.lock().unwrap().push(folder);
        outbox
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_without_sealing() {
    let folders = std::sync::Mutex::new(Vec::new());
    testing::check(async || {
        let folder = tempfile::tempdir().unwrap();
        let outbox = SqliteOutbox::builder(folder.path().join("webhooks.db"))
            .with_insecure_plaintext()
            .with_lease(LEASE)
            .open()
            .unwrap();
        folders.lock().unwrap().push(folder);
        outbox
    })
    .await;
}

/// What a shared outbox can do wrong that none for one process can.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    ForgetsAttempts,
    ForgetsDelays,
    RenewsNothing,
    KeepsLeasesWhenClosed,
}

struct Broken(SqliteOutbox, Fault);

impl Outbox for Broken {
    fn limits(&self) -> Limits {
        let mut limits = self.0.limits();
        limits.can_list = false;
        limits.can_redeliver = false;
        limits.can_cancel = false;
        limits
    }

    fn sealing(&self) -> Sealing {
        self.0.sealing()
    }

    async fn insert(&self, batch: Vec<NewDelivery>) -> Result<Vec<Option<Lease>>, BoxError> {
        self.0.insert(batch).await
    }

    async fn begin(&self, runs: Vec<NewDelivery>) -> Result<Vec<Option<Lease>>, BoxError> {
        self.0.begin(runs).await
    }

    async fn fetch(&self, want: Want) -> Result<DueDeliveries, BoxError> {
        let mut due = self.0.fetch(want).await?;
        if self.1 == Fault::ForgetsAttempts {
            due.deliveries.iter_mut().for_each(|one| one.attempt = 1);
        }
        Ok(due)
    }

    async fn settle(&self, mut batch: Vec<Settlement>) -> Result<Vec<SettleOutcome>, BoxError> {
        for settlement in &mut batch {
            if let (Fault::ForgetsDelays, Verdict::AgainIn(delay)) =
                (self.1, &mut settlement.verdict)
            {
                *delay = Duration::ZERO;
            }
        }
        self.0.settle(batch).await
    }

    async fn renew(&self, leases: Vec<Lease>) -> Result<Vec<Lease>, BoxError> {
        match self.1 {
            Fault::RenewsNothing => Ok(Vec::new()),
            _ => self.0.renew(leases).await,
        }
    }

    async fn close(&self) -> Result<Vec<StoredDelivery>, BoxError> {
        match self.1 {
            Fault::KeepsLeasesWhenClosed => Ok(Vec::new()),
            _ => self.0.close().await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_of_shared_outboxes_finds_each_fault() {
    let faults = [
        Fault::ForgetsAttempts,
        Fault::ForgetsDelays,
        Fault::RenewsNothing,
        Fault::KeepsLeasesWhenClosed,
    ];
    let found = faults.map(async |fault| {
        let make = async || tempfile::tempdir().unwrap();
        let open = async |folder: &TempDir| Broken(open(folder), fault);
        (fault, testing::shared_violations(make, open).await)
    });
    for (fault, violations) in futures_util::future::join_all(found).await {
        assert!(!violations.is_empty(), "{fault:?} is not found");
    }
}
