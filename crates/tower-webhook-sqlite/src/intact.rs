use std::error::Error;

use rusqlite::{Connection, Statement};

use crate::{SqliteOutboxError, open_files::OpenFiles, schema_check::SchemaCheck};

/// Whether the file is still what was opened: at its path, and with its schema.
///
/// While it is not, nothing new is put into it, as nobody could rely on finding it again. What is in
/// it is delivered all the same.
pub(crate) struct Intact<'c> {
    conn: &'c Connection,
    files: OpenFiles,
    schema: SchemaCheck,
    version: Statement<'c>,
    /// The version of the schema that was compared last.
    compared: Option<i64>,
    was_intact: bool,
}

impl<'c> Intact<'c> {
    pub(crate) fn new(conn: &'c Connection, files: OpenFiles) -> rusqlite::Result<Self> {
        Ok(Self {
            conn,
            files,
            schema: SchemaCheck::new()?,
            version: conn.prepare("PRAGMA schema_version")?,
            compared: None,
            was_intact: true,
        })
    }

    /// A few system calls, and a look at the file's first page.
    pub(crate) fn check(&mut self) -> Result<(), SqliteOutboxError> {
        self.files.check()?;
        let version = self.version.query_row([], |row| row.get(0))?;
        if self.compared != Some(version) {
            self.schema.run(self.conn)?;
            self.compared = Some(version);
        }
        Ok(())
    }

    /// Says it in the log when that has changed.
    pub(crate) fn report(&mut self) {
        match self.check() {
            Err(error) if self.was_intact => {
                let source = error.source().map(ToString::to_string);
                tracing::error!(
                    %error, source,
                    "the SQLite outbox takes nothing new before it is opened again"
                );
                self.was_intact = false;
            }
            Ok(()) if !self.was_intact => {
                tracing::info!("the SQLite outbox is again what was opened");
                self.was_intact = true;
            }
            _ => {}
        }
    }
}
