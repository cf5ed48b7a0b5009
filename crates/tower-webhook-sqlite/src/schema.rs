use std::{
    fs::{self, File, OpenOptions},
    io,
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use crate::{
    SqliteOutboxError, SqliteOutboxErrorKind as Kind,
    access::warn_if_open_to_others,
    open_files::{BESIDE, OpenFiles, beside},
    schema_check::SchemaCheck,
};

/// "twhk", in the file's header.
const APPLICATION_ID: i64 = 0x7477_686b;
/// Another one with each change of a word in [`SQL`]: a file has to agree with it to the letter.
const VERSION: i64 = 6;
pub(crate) const SQL: &str = include_str!("schema.sql");

/// Up to this size the whole file is checked when it is opened.
const CHECKED_BYTES: i64 = 64 << 20;

/// Opens the file, which is created if there is none, and brings it into shape.
pub(crate) fn open(
    path: &Path,
    busy_timeout: Duration,
    max_bytes: u64,
) -> Result<(Connection, OpenFiles), SqliteOutboxError> {
    refuse_lone_log(path)?;
    create_file(path)?;
    warn_if_open_to_others(path);
    let conn = connect(path, busy_timeout)?;
    if is_new(&conn)? {
        create(&conn)?;
    }
    check(&conn)?;
    configure(&conn, max_bytes)?;
    let files = OpenFiles::at(path)
        .map_err(|error| SqliteOutboxError::with_source(Kind::CannotOpen, error))?;
    Ok((conn, files))
}

/// Another connection to a file that was opened before.
pub(crate) fn connect(path: &Path, busy_timeout: Duration) -> rusqlite::Result<Connection> {
    // Without the flag for URIs: a path is a path.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(busy_timeout)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // There are none, and whoever adds one while the file is open changes nothing.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    Ok(conn)
}

/// SQLite takes an empty file for a new one, and deletes the log beside it.
fn refuse_lone_log(path: &Path) -> Result<(), SqliteOutboxError> {
    // The log is beside what a link leads to.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let log = beside(&path, BESIDE[0]);
    let is_empty = |path: &Path| fs::metadata(path).map_or(true, |file| file.len() == 0);
    // The log first: another process that creates both begins with the file.
    if !is_empty(&log) && is_empty(&path) {
        let found = "the file is empty or missing, but its write-ahead log is not";
        let found = io::Error::new(io::ErrorKind::InvalidData, found);
        return Err(SqliteOutboxError::with_source(Kind::Corrupt, found));
    }
    Ok(())
}

/// For its owner alone: payloads are in the clear. SQLite gives its other files the same mode.
fn create_file(path: &Path) -> Result<(), SqliteOutboxError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let created = options.open(path);
    // Also where it was there: whoever created it may have been killed before it had synced the folder.
    let synced = sync_folders(path);
    match created {
        Ok(_) => {
            if let Err(error) = synced {
                tracing::warn!(%error, "the folder of the SQLite outbox could not be synced");
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(SqliteOutboxError::with_source(Kind::CannotOpen, error)),
    }
}

/// So that a new file's name survives a loss of power, too, and that of its folder, which may be as new.
fn sync_folders(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    if !cfg!(unix) {
        return Ok(());
    }
    let sync = |folder: &Path| File::open(folder)?.sync_all();
    sync(folder)?;
    // Those above that may not be read are others', and have been there for long.
    let folder = folder.canonicalize()?;
    let _ = folder.ancestors().skip(1).try_for_each(sync);
    Ok(())
}

fn is_new(conn: &Connection) -> Result<bool, SqliteOutboxError> {
    let things: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(things == 0 && pragma(conn, "application_id")? == 0 && pragma(conn, "user_version")? == 0)
}

fn create(conn: &Connection) -> Result<(), SqliteOutboxError> {
    // Has no effect once there is a table.
    conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    write_ahead(conn)?;
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let created = (|| {
        // Another process may have been faster.
        if is_new(conn)? {
            conn.execute_batch(SQL)?;
            conn.pragma_update(None, "application_id", APPLICATION_ID)?;
            conn.pragma_update(None, "user_version", VERSION)?;
        }
        Ok(conn.execute_batch("COMMIT")?)
    })();
    if created.is_err() {
        let _ = conn.execute_batch("ROLLBACK");
    }
    created
}

fn check(conn: &Connection) -> Result<(), SqliteOutboxError> {
    if pragma(conn, "application_id")? != APPLICATION_ID {
        return Err(Kind::Foreign.into());
    }
    match pragma(conn, "user_version")? {
        VERSION => {}
        newer if newer > VERSION => return Err(Kind::NewerSchema.into()),
        _ => return Err(Kind::OlderSchema.into()),
    }
    SchemaCheck::new()?.run(conn)?;
    if pragma(conn, "page_count")? * pragma(conn, "page_size")? <= CHECKED_BYTES {
        let found: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if found != "ok" {
            let found = io::Error::new(io::ErrorKind::InvalidData, found);
            return Err(SqliteOutboxError::with_source(Kind::Corrupt, found));
        }
    }
    Ok(())
}

fn configure(conn: &Connection, max_bytes: u64) -> Result<(), SqliteOutboxError> {
    write_ahead(conn)?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "cache_size", -16_384)?; // KiB
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "cell_size_check", true)?;
    // What is deleted is written over: payloads are in the clear.
    conn.pragma_update(None, "secure_delete", true)?;
    conn.pragma_update(None, "wal_autocheckpoint", 4_000)?; // pages, 16 MiB
    conn.pragma_update(None, "journal_size_limit", 64 << 20)?;
    let pages = i64::try_from(max_bytes).unwrap_or(i64::MAX) / pragma(conn, "page_size")?;
    conn.pragma_update(None, "max_page_count", pages.clamp(1, 0xffff_fffe))?;
    Ok(())
}

fn write_ahead(conn: &Connection) -> Result<(), SqliteOutboxError> {
    let set = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
    let mode = conn.pragma_update_and_check(None, "journal_mode", "WAL", set)?;
    match mode.as_str() {
        "wal" => Ok(()),
        _ => Err(Kind::NoWal.into()),
    }
}

pub(crate) fn pragma(conn: &Connection, name: &str) -> rusqlite::Result<i64> {
    conn.pragma_query_value(None, name, |row| row.get(0))
}

/// Whether something waits that is sealed with such a key; `None` for what is not sealed.
pub(crate) fn waits_for_key(
    conn: &Connection,
    is_meant: impl Fn(Option<&str>) -> bool,
) -> Result<bool, SqliteOutboxError> {
    let mut statement = conn.prepare("SELECT DISTINCT key FROM delivery WHERE state <> 'dead'")?;
    let mut names = statement.query([])?;
    while let Some(name) = names.next()? {
        let name: Option<String> = name.get(0)?;
        if is_meant(name.as_deref()) {
            return Ok(true);
        }
    }
    Ok(false)
}
