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
    /// The next ones of this state that the filter lets through.
    pub(crate) fn step(
        &mut self,
        conn: &Connection,
        wanted: &DeliveryFilter,
        state: &str,
    ) -> rusqlite::Result<Vec<i64>> {
        let last = match self.last {
            Some(last) => last,
            None => last_row(conn)?,
        };
        self.last = Some(last);
        let (condition, mut values) = filter::to_sql(wanted);
        values.extend([self.after, last].map(|seq| Box::new(seq) as Box<dyn ToSql>));
        // Few have a certain id: an index finds these. Of all others each is looked at, once.
        let is_named = wanted.id().is_some() || wanted.request_id().is_some();
        let sql = match is_named {
            true => format!(
                "SELECT seq, state = '{state}' FROM delivery
                 WHERE {condition} AND seq > ? AND seq <= ?
                 ORDER BY seq LIMIT {LOOKED_AT}"
            ),
            false => format!(
                "SELECT seq, state = '{state}' AND {condition}
                 FROM (SELECT seq, state, host, accepted_at FROM delivery
                       WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT {LOOKED_AT})"
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

fn last_row(conn: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT seq FROM delivery ORDER BY seq DESC LIMIT 1";
    let last = conn.query_row(sql, [], |row| row.get(0)).optional()?;
    Ok(last.unwrap_or(0))
}
