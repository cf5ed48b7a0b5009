use rusqlite::{Connection, OptionalExtension, ToSql, params_from_iter};
use tower_webhook::outbox::DeliveryFilter;

use crate::{command::Reply, filter};

/// A change to all deliveries that a filter lets through, and that were there when it began: some at a
/// time, the oldest first, in turn with others.
pub(crate) struct Sweep {
    pub(crate) filter: DeliveryFilter,
    pub(crate) reply: Reply<usize>,
    pub(crate) progress: Progress,
}

/// How far it has come.
#[derive(Clone, Copy, Default)]
pub(crate) struct Progress {
    /// How many were changed.
    pub(crate) done: usize,
    /// All up to this row were looked at.
    after: i64,
    /// The last row that there was; `None` before the first step.
    last: Option<i64>,
    pub(crate) is_over: bool,
}

/// Which rows are meant.
#[derive(Clone, Copy)]
pub(crate) struct Swept {
    table: &'static str,
    key: &'static str,
    /// What the filter's condition is about.
    columns: &'static str,
    is_meant: &'static str,
    to_sql: fn(&DeliveryFilter) -> filter::Condition,
}

/// One step changes, and looks at, so many deliveries at most: accepting waits no longer than that.
const CHANGED: usize = 128;
const LOOKED_AT: usize = 2_048;

impl Sweep {
    pub(crate) fn new(filter: DeliveryFilter, reply: Reply<usize>) -> Self {
        Self {
            filter,
            reply,
            progress: Progress::default(),
        }
    }
}

impl Progress {
    /// There is nothing to change.
    pub(crate) fn end(self) -> Self {
        Self {
            is_over: true,
            ..self
        }
    }

    /// The next ones of these that the filter lets through.
    pub(crate) fn step(
        &mut self,
        conn: &Connection,
        wanted: &DeliveryFilter,
        swept: Swept,
    ) -> rusqlite::Result<Vec<i64>> {
        let last = match self.last {
            Some(last) => last,
            None => swept.last_row(conn)?,
        };
        self.last = Some(last);
        let (condition, mut values) = swept.condition(wanted);
        let Swept {
            table,
            key,
            is_meant,
            ..
        } = swept;
        values.extend([self.after, last].map(|seq| Box::new(seq) as Box<dyn ToSql>));
        // Few have a certain id: an index finds these. Of all others each is looked at, once.
        let is_named = wanted.id().is_some() || wanted.request_id().is_some();
        let sql = match is_named {
            true => format!(
                "SELECT {key}, {is_meant} FROM {table}
                 WHERE {condition} AND {key} > ? AND {key} <= ?
                 ORDER BY {key} LIMIT {LOOKED_AT}"
            ),
            false => format!(
                "SELECT {key}, {is_meant} AND {condition}
                 FROM (SELECT {} FROM {table}
                       WHERE {key} > ? AND {key} <= ? ORDER BY {key} LIMIT {LOOKED_AT})",
                swept.columns
            ),
        };
        let mut statement = conn.prepare(&sql)?;
        let values = values.iter().map(|value| &**value as &dyn ToSql);
        let mut rows = statement.query(params_from_iter(values))?;
        let (mut looked_at, mut found) = (0, Vec::new());
        while found.len() < CHANGED
            && let Some(row) = rows.next()?
        {
            looked_at += 1;
            self.after = row.get(0)?;
            if row.get(1)? {
                found.push(self.after);
            }
        }
        self.is_over = found.len() < CHANGED && looked_at < LOOKED_AT;
        Ok(found)
    }
}

impl Swept {
    pub(crate) const WAITING: Self = Self::of_state("state = 'waiting'");
    pub(crate) const DEAD: Self = Self::of_state("state = 'dead'");
    /// What can be delivered again.
    pub(crate) const HISTORY: Self = Self {
        table: "history",
        key: "n",
        columns: "n, failure, body, host, accepted_at",
        is_meant: "body IS NOT NULL",
        to_sql: filter::of_history,
    };

    const fn of_state(is_meant: &'static str) -> Self {
        Self {
            table: "delivery",
            key: "seq",
            columns: "seq, state, run, host, accepted_at",
            is_meant,
            to_sql: filter::of_deliveries,
        }
    }

    fn condition(self, wanted: &DeliveryFilter) -> filter::Condition {
        (self.to_sql)(wanted)
    }

    fn last_row(self, conn: &Connection) -> rusqlite::Result<i64> {
        let Self { table, key, .. } = self;
        let sql = format!("SELECT {key} FROM {table} ORDER BY {key} DESC LIMIT 1");
        let last = conn.query_row(&sql, [], |row| row.get(0)).optional()?;
        Ok(last.unwrap_or(0))
    }
}
