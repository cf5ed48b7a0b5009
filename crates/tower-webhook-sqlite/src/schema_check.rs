use std::io;

use rusqlite::{Connection, types::ValueRef};

use crate::{SqliteOutboxError, SqliteOutboxErrorKind as Kind, schema};

/// Compares the schema of a file with the one that this crate creates, word for word: whoever can
/// write the file could add a trigger, a view or an index that fails.
pub(crate) struct SchemaCheck {
    expected: Vec<Object>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Object {
    kind: String,
    name: String,
    table: String,
    sql: String,
}

impl SchemaCheck {
    pub(crate) fn new() -> rusqlite::Result<Self> {
        let blank = Connection::open_in_memory()?;
        blank.execute_batch(schema::SQL)?;
        let expected = objects(&blank)?;
        Ok(Self { expected })
    }

    pub(crate) fn run(&self, conn: &Connection) -> Result<(), SqliteOutboxError> {
        let found = objects(conn)?;
        let is_odd = |object: &&Object| !self.expected.contains(object) && !object.is_statistics();
        let what = match found.iter().find(is_odd) {
            Some(odd) => format!("{} {:?} is not as it was created", odd.kind, odd.name),
            None => match self.expected.iter().find(|object| !found.contains(object)) {
                Some(missing) => format!("{} {:?} is missing", missing.kind, missing.name),
                None => return Ok(()),
            },
        };
        let source = io::Error::new(io::ErrorKind::InvalidData, what);
        Err(SqliteOutboxError::with_source(Kind::ChangedSchema, source))
    }
}

impl Object {
    /// Of `ANALYZE`, which an operator may run.
    fn is_statistics(&self) -> bool {
        self.kind == "table" && ["sqlite_stat1", "sqlite_stat4"].contains(&&*self.name)
    }
}

fn objects(conn: &Connection) -> rusqlite::Result<Vec<Object>> {
    let mut statement =
        conn.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY 1, 2, 3, 4")?;
    let objects = statement.query_map([], |row| {
        let text = |index| -> rusqlite::Result<String> {
            Ok(match row.get_ref(index)? {
                ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                // The index of a constraint has no text.
                _ => String::new(),
            })
        };
        Ok(Object {
            kind: text(0)?,
            name: text(1)?,
            table: text(2)?,
            sql: text(3)?,
        })
    })?;
    objects.collect()
}
