//! What cannot be seen from outside: the clock, and how much is looked at.

mod edited;
mod hosts;
mod notices;
mod owners;
mod reads;
mod time;
mod unread;

use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use tempfile::TempDir;
use tower_webhook::{
    DeliveryId,
    endpoint::Host,
    event::{AttemptError, Outcome},
    outbox::{
        Envelope, NewDelivery, Outbox, SealingKey, SettleOutcome, Settlement, StoredDelivery,
        Verdict,
    },
};

use crate::{SqliteOutbox, SqliteOutboxBuilder};

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn builder(folder: &TempDir) -> SqliteOutboxBuilder {
    let key = SealingKey::from_bytes([1; 32]);
    SqliteOutbox::builder(folder.path().join("file")).with_key(key)
}

fn sql(folder: &TempDir) -> Connection {
    let conn = Connection::open(folder.path().join("file")).unwrap();
    conn.busy_timeout(Duration::from_secs(5)).unwrap();
    conn
}

fn count(folder: &TempDir, condition: &str) -> i64 {
    let text = format!("SELECT count(*) FROM delivery WHERE {condition}");
    sql(folder).query_row(&text, [], |row| row.get(0)).unwrap()
}

/// Its envelope says what its payload says.
fn stored(number: usize, text: &'static str) -> StoredDelivery {
    let id = format!("019a0000-0000-7000-8000-{number:012}");
    let id = DeliveryId::parse(&id).unwrap();
    StoredDelivery::new(
        id,
        id.into(),
        Host::from("a.example"),
        None,
        SystemTime::now(),
        Envelope::from_bytes(text),
        text.into(),
    )
}

fn new(number: usize) -> NewDelivery {
    NewDelivery::new(stored(number, "done"), true)
}

async fn leave_dead(outbox: &SqliteOutbox, number: usize) {
    let lease = outbox.insert(vec![new(number)]).await.unwrap()[0].unwrap();
    let dead = Verdict::Dead(Outcome::Failed(AttemptError::Crowded));
    let dead = Settlement::new(lease, dead, None);
    let settled = outbox.settle(vec![dead]).await.unwrap();
    assert_eq!(settled, [SettleOutcome::Done]);
}

/// Waits for what happens on the outbox's thread.
async fn until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come so within 20 seconds");
}
