use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use rusqlite::ErrorCode;

use crate::{open_files::OpenFiles, schema};

/// The write-ahead log keeps what was deleted until it is written over. So it is emptied as soon as
/// nobody writes, and every now and then where somebody always does.
pub(crate) struct Log {
    log: PathBuf,
    files: OpenFiles,
    seen: Option<(u64, SystemTime)>,
    emptied: Instant,
}

/// How often it is emptied although it is being written.
const EVERY: Duration = Duration::from_secs(60);

impl Log {
    pub(crate) fn new(files: OpenFiles) -> Self {
        Self {
            log: files.log(),
            files,
            seen: None,
            emptied: Instant::now(),
        }
    }

    /// Never waits: where somebody reads or writes, it is emptied another time.
    pub(crate) fn tidy(&mut self) -> rusqlite::Result<()> {
        let Ok(log) = fs::metadata(&self.log) else {
            return Ok(());
        };
        let now = log.modified().ok().map(|at| (log.len(), at));
        let is_idle = now.is_some() && now == self.seen;
        self.seen = now;
        if log.len() == 0 || !is_idle && self.emptied.elapsed() < EVERY {
            return Ok(());
        }
        self.emptied = Instant::now();
        if self.files.check().is_err() {
            return Ok(());
        }
        // A connection of its own, as the writer's waits for locks.
        let conn = schema::connect(self.files.database(), Duration::ZERO)?;
        match conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
            Err(error) if is_locked(&error) => Ok(()),
            done => done,
        }
    }
}

fn is_locked(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(
        code,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}
