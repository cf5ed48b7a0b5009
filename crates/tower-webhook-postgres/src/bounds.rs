//! Retention limits for dead letters and history. The oldest rows are deleted first, in batches.

use std::time::{Duration, Instant};

use tokio_postgres::types::Type;

use crate::{
    PostgresOutboxError,
    migrations::first,
    transaction::{Mode, Param, Statement, Transactions},
    value::{to_i64, to_ms},
};

/// Retention limits of one table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) number: usize,
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
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
    total: &'static str,
    trim: &'static str,
    log: Option<&'static str>,
}

/// Parameters of `trim`: the excess in rows, the excess in bytes, the maximum age in milliseconds and the
/// batch size. It looks at one batch of the oldest rows and deletes those that still exceed a limit once
/// the rows before them are gone.
pub(crate) const DEAD: Kept = Kept {
    total: "SELECT count(*), coalesce(sum(payload_len), 0)::int8 FROM delivery WHERE state = 'dead'",
    trim: "
        WITH oldest AS (
            SELECT id, payload_len, died_at FROM delivery WHERE state = 'dead'
            ORDER BY died_at, id LIMIT $4 FOR UPDATE SKIP LOCKED
        ), counted AS (
            SELECT id, died_at, row_number() OVER (ORDER BY died_at, id) AS nth,
                   sum(payload_len) OVER (ORDER BY died_at, id) - payload_len AS before
            FROM oldest
        ), gone AS (
            DELETE FROM delivery WHERE id = ANY (ARRAY (
                SELECT id FROM counted WHERE nth <= $1 OR before < $2
                    OR died_at <= now() - $3 * interval '1 millisecond'))
            RETURNING id, payload_len AS bytes
        ), bodies AS (
            DELETE FROM payload WHERE id = ANY (ARRAY (SELECT id FROM gone))
        )
        SELECT count(*), coalesce(sum(bytes), 0)::int8 FROM gone",
    log: Some("dead letters were removed from the PostgreSQL outbox"),
};

pub(crate) const HISTORY: Kept = Kept {
    total: "SELECT count(*), coalesce(sum(bytes), 0)::int8 FROM history",
    trim: "
        WITH oldest AS (
            SELECT n, bytes, ended_at FROM history ORDER BY n LIMIT $4 FOR UPDATE SKIP LOCKED
        ), counted AS (
            SELECT n, ended_at, row_number() OVER (ORDER BY n) AS nth,
                   sum(bytes) OVER (ORDER BY n) - bytes AS before
            FROM oldest
        ), gone AS (
            DELETE FROM history WHERE n = ANY (ARRAY (
                SELECT n FROM counted WHERE nth <= $1 OR before < $2
                    OR ended_at <= now() - $3 * interval '1 millisecond'))
            RETURNING bytes
        )
        SELECT count(*), coalesce(sum(bytes), 0)::int8 FROM gone",
    log: None,
};

impl Kept {
    #[cfg(test)]
    pub(crate) fn trim(&self) -> &'static str {
        self.trim
    }
}

/// Rows deleted by one transaction at most.
const AT_ONCE: i64 = 512;
/// Totals are counted at most this often, and counting takes at most one part in `PART` of the time.
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
        self.has_grown = true;
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
        if !is_due {
            return Ok(());
        }
        let total = Statement::new(self.kept.total, Vec::new());
        let found = transactions.run(Mode::Read, &[total]).await?;
        self.next_count = began + (began.elapsed() * PART).max(AGAIN);
        let over = |is: i64, most: i64| is.saturating_sub(most).max(0);
        let number: i64 = first(&found, 0)?.unwrap_or(0);
        let mut number = over(number, to_i64(self.bounds.number));
        let bytes: i64 = first(&found, 1)?.unwrap_or(0);
        let most = i64::try_from(self.bounds.bytes).unwrap_or(i64::MAX);
        let mut bytes = over(bytes, most);
        let ms = to_ms(self.bounds.time);
        let mut removed = 0;
        loop {
            let params: [Param<'_>; 4] = [
                (&number, Type::INT8),
                (&bytes, Type::INT8),
                (&ms, Type::INT8),
                (&AT_ONCE, Type::INT8),
            ];
            let trim = Statement::new(self.kept.trim, params.to_vec());
            let found = transactions.run(Mode::Quick, &[trim]).await?;
            let gone: i64 = first(&found, 0)?.unwrap_or(0);
            removed += gone;
            number = over(number, gone);
            bytes = over(bytes, first(&found, 1)?.unwrap_or(0));
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
