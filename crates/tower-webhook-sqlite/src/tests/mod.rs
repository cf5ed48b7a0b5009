//! What cannot be seen from outside: the clock, and how much is looked at.

mod hosts;
mod owners;
mod time;

mod reads;
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;
use tower_webhook::outbox::SealingKey;

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
