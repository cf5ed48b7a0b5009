//! Retention limits for dead letters and history. The oldest rows are deleted first, in batches.

use std::time::{Duration, Instant, SystemTime};

use tokio_postgres::types::{Timestamp, Type};

use crate::{
    PostgresOutboxError,
    migrations::first,
    transaction::{Mode, Param, Statement, Transactions},
    value::{SqlId, to_i64, to_ms},
};

/// Retention limits of one table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) number: usize,
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
}

impl Bounds {
    /// Larger than any table, or a hundred years: limits of those who want none.
    const NONE: u64 = 1 << 60;

    /// Whether rows have to be counted, or their bytes.
    fn are_counted(&self) -> bool {
        (self.number as u64) < Self::NONE || self.bytes < Self::NONE
    }

    fn are_none(&self) -> bool {
        !self.are_counted() && to_ms(self.time) == to_ms(Duration::MAX)
    }
}

/// What the history keeps of deliveries that were delivered or have failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HistorySettings {
    pub(crate) bounds: Bounds,
    pub(crate) keeps_payloads: bool,
}

impl HistorySettings {
    pub(crate) fn is_kept(&self) -> bool {
        self.bounds.number > 0
    }

    /// A larger payload would evict the whole history.
    pub(crate) fn largest_payload(&self) -> i64 {
        i64::try_from(self.bounds.bytes).unwrap_or(i64::MAX)
    }
}

/// The statements that enforce the limits on one table.
#[derive(Clone, Copy)]
pub(crate) struct Kept {
    boundary: &'static str,
    trim: &'static str,
    log: Option<&'static str>,
}

/// The newest row that exceeds a limit. It and all older rows have to go.
///
/// Several processes trim at the same time, and what has to go must not depend on what others have deleted
/// meanwhile: with a number of rows to delete, each process would delete that many.
#[derive(Debug, Default)]
pub(crate) struct Boundary {
    time: Option<Timestamp<SystemTime>>,
    id: Option<SqlId>,
    n: Option<i64>,
}

/// Parameters of `boundary`: the limits of rows and of bytes. A row counts as the largest payload at most, so
/// that an edited length neither overflows the sum nor evicts all others.
///
/// Parameters of `trim`: the boundary, the maximum age in milliseconds and the batch size. It looks at one
/// batch of the oldest rows.
pub(crate) const DEAD: Kept = Kept {
    boundary: "
        SELECT coalesce(died_at, 'infinity'), id, NULL::int8 FROM (
            SELECT died_at, id, row_number() OVER newest AS nth,
                   sum(least(greatest(payload_len, 0), 268435456)) OVER newest AS bytes
            FROM delivery WHERE state = 'dead'
            WINDOW newest AS (ORDER BY died_at DESC, id DESC ROWS UNBOUNDED PRECEDING)
        ) AS counted
        WHERE nth > $1 OR bytes > $2 ORDER BY died_at DESC, id DESC LIMIT 1",
    trim: "
        WITH oldest AS (
            SELECT id, died_at FROM delivery WHERE state = 'dead'
            ORDER BY died_at, id LIMIT $5 FOR UPDATE SKIP LOCKED
        ), gone AS (
            DELETE FROM delivery WHERE id = ANY (ARRAY (
                SELECT id FROM oldest
                WHERE (coalesce(died_at, 'infinity'), id) <= ($1, $2)
                    OR died_at <= now() - $4 * interval '1 millisecond'))
            RETURNING id
        ), bodies AS (
            DELETE FROM payload WHERE id = ANY (ARRAY (SELECT id FROM gone))
        )
        SELECT count(*) FROM gone",
    log: Some("dead letters were removed from the PostgreSQL outbox"),
};

pub(crate) const HISTORY: Kept = Kept {
    boundary: "
        SELECT NULL::timestamptz, NULL::uuid, n FROM (
            SELECT n, row_number() OVER newest AS nth,
                   sum(least(greatest(bytes, 0), 268435456)) OVER newest AS bytes
            FROM history WINDOW newest AS (ORDER BY n DESC ROWS UNBOUNDED PRECEDING)
        ) AS counted
        WHERE nth > $1 OR bytes > $2 ORDER BY n DESC LIMIT 1",
    trim: "
        WITH oldest AS (
            SELECT n, ended_at FROM history ORDER BY n LIMIT $5 FOR UPDATE SKIP LOCKED
        ), gone AS (
            DELETE FROM history WHERE n = ANY (ARRAY (
                SELECT n FROM oldest
                WHERE n <= $3 OR ended_at <= now() - $4 * interval '1 millisecond'))
            RETURNING n
        )
        SELECT count(*) FROM gone",
    log: None,
};

impl Kept {
    #[cfg(test)]
    pub(crate) fn statements(&self) -> [&'static str; 2] {
        [self.boundary, self.trim]
    }

    async fn find_boundary(
        &self,
        transactions: &Transactions,
        bounds: Bounds,
    ) -> Result<Boundary, PostgresOutboxError> {
        if !bounds.are_counted() {
            return Ok(Boundary::default());
        }
        let number = to_i64(bounds.number);
        let bytes = i64::try_from(bounds.bytes).unwrap_or(i64::MAX);
        let params: Vec<Param<'_>> = vec![(&number, Type::INT8), (&bytes, Type::INT8)];
        let boundary = Statement::new(self.boundary, params);
        let found = transactions.run(Mode::Read, &[boundary]).await?;
        match found.iter().flatten().next() {
            None => Ok(Boundary::default()),
            Some(row) => Ok(Boundary {
                time: row.try_get(0)?,
                id: row.try_get(1)?,
                n: row.try_get(2)?,
            }),
        }
    }
}

impl Boundary {
    /// `$1` to `$3`.
    pub(crate) fn params(&self) -> Vec<Param<'_>> {
        vec![
            (&self.time, Type::TIMESTAMPTZ),
            (&self.id, Type::UUID),
            (&self.n, Type::INT8),
        ]
    }
}

/// Rows deleted by one transaction at most.
const AT_ONCE: i64 = 512;
/// Rows are counted at most this often, and counting takes at most one part in `PART` of the time.
/// Counting is the only way to see what other processes have added.
const AGAIN: Duration = Duration::from_secs(1);
const PART: u32 = 50;
/// Expired rows are looked for at least this often, even if nothing was added.
const EVERY: Duration = Duration::from_secs(60);

/// Enforces the limits on one table.
pub(crate) struct Keeper {
    kept: Kept,
    bounds: Bounds,
    has_grown: bool,
    next_count: Instant,
    next_look: Instant,
}

impl Keeper {
    pub(crate) fn new(kept: Kept, bounds: Bounds) -> Self {
        Self {
            kept,
            bounds,
            has_grown: false,
            next_count: Instant::now(),
            next_look: Instant::now(),
        }
    }

    pub(crate) fn has_grown(&mut self) {
        self.has_grown = !self.bounds.are_none();
    }

    /// Whether rows were added since the last count.
    pub(crate) fn wants_more(&self) -> bool {
        self.has_grown
    }

    /// Deletes the excess if it is time to look.
    pub(crate) async fn run_if_due(
        &mut self,
        transactions: &Transactions,
    ) -> Result<(), PostgresOutboxError> {
        let began = Instant::now();
        let is_due = began >= self.next_look || self.has_grown && began >= self.next_count;
        if !is_due || self.bounds.are_none() {
            return Ok(());
        }
        let boundary = self.kept.find_boundary(transactions, self.bounds).await?;
        self.next_count = began + (began.elapsed() * PART).max(AGAIN);
        let ms = to_ms(self.bounds.time);
        let more: [Param<'_>; 2] = [(&ms, Type::INT8), (&AT_ONCE, Type::INT8)];
        let params = [boundary.params(), more.to_vec()].concat();
        let mut removed = 0;
        loop {
            let trim = Statement::new(self.kept.trim, params.clone());
            let found = transactions.run(Mode::Quick, &[trim]).await?;
            let gone: i64 = first(&found, 0)?.unwrap_or(0);
            removed += gone;
            if gone < AT_ONCE {
                break;
            }
        }
        self.has_grown = false;
        self.next_look = began + EVERY;
        if let Some(log) = self.kept.log.filter(|_| removed > 0) {
            tracing::warn!(removed, "{log}");
        }
        Ok(())
    }
}
