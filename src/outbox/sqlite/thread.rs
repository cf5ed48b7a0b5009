use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
    thread,
};

use rusqlite::Connection;
use tokio::sync::Notify;

use super::{
    SqliteOutboxError, SqliteOutboxErrorKind,
    command::Handle,
    writer::{Writer, WriterSettings},
};

/// Starts the thread that writes. It ends, once it has done what it was asked to, when the last
/// handle is gone.
pub(super) fn start(
    conn: Connection,
    settings: WriterSettings,
) -> Result<Handle, SqliteOutboxError> {
    let due = Arc::new(Notify::new());
    let (commands, received) = mpsc::channel();
    let (ready, is_ready) = mpsc::channel();
    let handle = Handle {
        commands,
        due: Arc::clone(&due),
    };
    let run = move || {
        let mut writer = match Writer::new(&conn, settings, due) {
            Ok(writer) => writer,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let _ = ready.send(Ok(()));
        // What waits for an answer is dropped with the commands, and hears of it that way.
        if catch_unwind(AssertUnwindSafe(|| writer.serve(&received))).is_err() {
            tracing::error!("the thread of the SQLite outbox panicked: it takes nothing any more");
        }
    };
    thread::Builder::new()
        .name("webhook-outbox".to_owned())
        .spawn(run)
        .map_err(|error| SqliteOutboxError::with_source(SqliteOutboxErrorKind::Other, error))?;
    is_ready.recv().map_err(|_| SqliteOutboxErrorKind::Gone)??;
    Ok(handle)
}
