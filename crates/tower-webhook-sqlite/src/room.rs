use std::{
    io,
    path::Path,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, Statement, ffi};
use tower_webhook::outbox::NewDelivery;

use crate::{schema::pragma, spare::Spare};

/// The room that the file has. An eighth of it is for settlements: a delivery is refused before it
/// takes what is needed to note what became of those before it.
pub(crate) struct Room<'c> {
    page_count: Statement<'c>,
    free_count: Statement<'c>,
    checkpoint: Statement<'c>,
    truncate: Statement<'c>,
    page_size: i64,
    most_pages: i64,
    spare: Spare,
    full: Option<FullDisk>,
}

/// While the disk is full the file does not grow.
struct FullDisk {
    pages: i64,
    next_look: Instant,
    pause: Duration,
}

const FOR_SETTLEMENTS: i64 = 8;
/// What a delivery takes beside its payload and its envelope: ids, indices, what is left of a page.
const A_ROW: usize = 600;
/// A log that is longer cannot begin anew, as somebody reads an old view of the file.
const LONGEST_LOG: u64 = 64 << 20;
/// Of a log, and of a spare file, that have found no room to become longer on a disk of a few MiB.
const TINY: u64 = 1 << 20;
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

impl<'c> Room<'c> {
    pub(crate) fn new(
        conn: &'c Connection,
        file: &Path,
        most_bytes: u64,
    ) -> rusqlite::Result<Self> {
        let page_size = pragma(conn, "page_size")?;
        Ok(Self {
            page_count: conn.prepare("PRAGMA page_count")?,
            free_count: conn.prepare("PRAGMA freelist_count")?,
            checkpoint: conn.prepare("PRAGMA wal_checkpoint(PASSIVE)")?,
            truncate: conn.prepare("PRAGMA wal_checkpoint(TRUNCATE)")?,
            page_size,
            most_pages: i64::try_from(most_bytes).unwrap_or(i64::MAX) / page_size,
            spare: Spare::beside(file),
            full: None,
        })
    }

    /// Whether there is room for these, and for settlements beside them. Within a transaction.
    pub(crate) fn is_there_for(&mut self, batch: &[NewDelivery]) -> rusqlite::Result<bool> {
        let page = self.page_size as usize;
        let size = |new: &NewDelivery| {
            let envelope = new.stored.envelope.bytes().map_or(0, |bytes| bytes.len());
            (new.stored.payload.len() + envelope + A_ROW) / page + 1
        };
        let wanted: usize = batch.iter().map(size).sum();
        let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
        let pages = self
            .full
            .as_ref()
            .map_or(self.most_pages, |full| full.pages);
        let taken = self.pages()? - number(&mut self.free_count)?;
        Ok(taken.saturating_add(wanted) <= pages - pages / FOR_SETTLEMENTS)
    }

    fn pages(&mut self) -> rusqlite::Result<i64> {
        number(&mut self.page_count)
    }

    pub(crate) fn disk_is_full(&self) -> bool {
        self.full.is_some()
    }

    /// Has the log begin anew where it is too long; says whether it is short enough to go on. Outside of
    /// a transaction.
    pub(crate) fn has_short_log(&mut self) -> rusqlite::Result<bool> {
        if self.spare.log_len() <= LONGEST_LOG {
            return Ok(true);
        }
        number(&mut self.truncate)?;
        Ok(self.spare.log_len() <= LONGEST_LOG)
    }

    /// Nothing could be written: makes the room that settlements need, where that is to be had without
    /// the spare file. Outside of a transaction.
    pub(crate) fn disk_fills_up(&mut self) -> rusqlite::Result<()> {
        match self.write_log_back()? {
            true => Ok(()),
            false => self.disk_is_full_now(),
        }
    }

    /// Gives the spare file up, and lets the file grow no more.
    pub(crate) fn disk_is_full_now(&mut self) -> rusqlite::Result<()> {
        // Where the file has come to little yet, the log has taken what it needs.
        let log = self.spare.log_len();
        let is_shorter = self.full.is_none() && self.pages()? * self.page_size < log as i64;
        let is_log_in_the_way = is_shorter || self.spare.len().max(log) <= TINY;
        self.spare.give_up();
        let is_written = match is_log_in_the_way {
            true => has_room(number(&mut self.truncate))?,
            false => self.write_log_back()?,
        };
        if is_written && self.spare_follows_log() {
            return Ok(());
        }
        let now = Instant::now();
        if self.full.is_none() {
            tracing::error!(
                "the disk is full: the SQLite outbox takes a delivery only where others have left room"
            );
            self.full = Some(FullDisk {
                pages: self.pages()?.min(self.most_pages),
                next_look: now + PAUSES.0,
                pause: PAUSES.0,
            });
        }
        Ok(())
    }

    /// So that what is written next begins the log anew, in the place that it has already. Says whether
    /// there was room for it in the file.
    fn write_log_back(&mut self) -> rusqlite::Result<bool> {
        has_room(number(&mut self.checkpoint))
    }

    /// Whether there is room for it.
    fn spare_follows_log(&mut self) -> bool {
        match self.spare.follow_log() {
            Err(error) if is_no_room(&error) => false,
            Err(error) => {
                tracing::debug!(%error, "the spare file of the SQLite outbox cannot be written");
                true
            }
            Ok(()) => true,
        }
    }

    /// After a commit, and now and then.
    pub(crate) fn look_after(&mut self) -> rusqlite::Result<()> {
        let now = Instant::now();
        if let Some(full) = &mut self.full {
            let is_due = now >= full.next_look;
            if is_due {
                full.pause = (2 * full.pause).min(PAUSES.1);
                full.next_look = now + full.pause;
            }
            self.write_log_back()?;
            if !is_due {
                return Ok(());
            }
        }
        match self.spare_follows_log() {
            true if self.full.take().is_some() => {
                tracing::info!("the SQLite outbox has room again");
                Ok(())
            }
            false if self.full.is_none() => self.disk_fills_up(),
            _ => Ok(()),
        }
    }
}

/// Whether the reason for which something failed is that there was no room for it.
pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    const NO_ROOM: [i32; 2] = [ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_SHMSIZE];
    match error {
        rusqlite::Error::SqliteFailure(error, _) => {
            error.code == ErrorCode::DiskFull || NO_ROOM.contains(&error.extended_code)
        }
        _ => false,
    }
}

fn has_room(done: rusqlite::Result<i64>) -> rusqlite::Result<bool> {
    match done {
        Ok(_) => Ok(true),
        Err(error) if is_full(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_no_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// What a pragma answers, to its end: a statement that is left half-way keeps its view of the file.
fn number(pragma: &mut Statement<'_>) -> rusqlite::Result<i64> {
    let mut rows = pragma.query([])?;
    let number = match rows.next()? {
        Some(row) => row.get(0)?,
        None => 0,
    };
    while rows.next()?.is_some() {}
    Ok(number)
}
