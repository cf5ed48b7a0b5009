use std::collections::HashSet;

use tokio_postgres::types::Type;
use tower_webhook::{
    event::FailReason,
    outbox::{AttemptRecord, Lease, SettleOutcome, Settlement, Verdict},
};

use crate::{
    PostgresOutboxError,
    bounds::HistorySettings,
    transaction::{Mode, Param, Statement, Transactions},
    value::{SqlId, to_ms},
};

/// Moves ended deliveries to the history. A failed run is kept without its payload. Envelopes in plaintext
/// contain the secret and are kept only together with payloads. A record that is there already, as of a notice
/// whose response came late, becomes the newest one.
///
/// A row has a token exactly while it is leased. The state is not part of the condition: with stale
/// statistics, the planner would scan the partial index of all leased rows.
pub(crate) const END: &str = "
    WITH gone AS (
        DELETE FROM delivery d
        USING unnest($1::uuid[], $2::int8[], $3::text[], $4::text[], $8::bool[])
            AS s (id, token, failure, record, is_kept)
        WHERE d.id = ANY ($1::uuid[]) AND d.id = s.id AND d.token = s.token
        RETURNING d.id, s.token, d.request_id, d.host, d.status, d.key, d.payload_len, d.accepted_at,
            coalesce(s.failure, d.failure) AS failure, d.attempts || s.record AS attempts,
            s.is_kept, s.failure IS NULL AND $6 AND d.payload_len <= $7 AS has_body
    ), bodies AS (
        DELETE FROM payload p USING gone WHERE p.id = ANY ($1::uuid[]) AND p.id = gone.id
        RETURNING gone.*, CASE WHEN has_body THEN p.body END AS body,
            CASE WHEN key IS NOT NULL OR has_body THEN p.envelope ELSE ''::bytea END AS envelope
    ), kept AS (
        SELECT * FROM bodies WHERE $5 AND is_kept
    ), noted AS (
        INSERT INTO history (id, request_id, host, status, failure, key, payload_len, accepted_at,
                             ended_at, attempts, envelope, body, bytes)
        SELECT id, request_id, host, status, failure, key, payload_len, accepted_at,
               clock_timestamp(), attempts, envelope, body,
               octet_length(attempts) + octet_length(envelope) + coalesce(octet_length(body), 0)
        FROM kept
        ON CONFLICT (id) DO UPDATE SET n = DEFAULT, request_id = excluded.request_id,
            host = excluded.host, status = excluded.status, failure = excluded.failure,
            key = excluded.key, payload_len = excluded.payload_len,
            accepted_at = excluded.accepted_at, ended_at = excluded.ended_at,
            attempts = excluded.attempts, envelope = excluded.envelope, body = excluded.body,
            bytes = excluded.bytes
    )
    SELECT id, token FROM gone";

pub(crate) const CHANGE: &str = "
    UPDATE delivery d SET
        state = s.state, owner = NULL, token = NULL, leased_until = NULL,
        attempt = CASE WHEN s.is_next THEN least(greatest(d.attempt, 1), 4294967294) + 1
                       ELSE d.attempt END,
        due_at = CASE WHEN s.delay IS NULL THEN d.due_at
                      ELSE clock_timestamp() + s.delay * interval '1 millisecond' END,
        attempts = d.attempts || s.record,
        died_at = CASE WHEN s.state = 'dead' THEN clock_timestamp() END,
        reason = s.reason
    FROM unnest($1::uuid[], $2::int8[], $3::text[], $4::int8[], $5::text[], $6::text[], $7::bool[])
        AS s (id, token, state, delay, reason, record, is_next)
    WHERE d.id = ANY ($1::uuid[]) AND d.id = s.id AND d.token = s.token
    RETURNING d.id, s.token";

/// Column arrays of deliveries that have ended.
#[derive(Default)]
struct Ended {
    ids: Vec<SqlId>,
    tokens: Vec<i64>,
    failures: Vec<Option<&'static str>>,
    records: Vec<String>,
    are_kept: Vec<bool>,
}

/// Column arrays of deliveries that stay in the table.
#[derive(Default)]
struct Changed {
    ids: Vec<SqlId>,
    tokens: Vec<i64>,
    states: Vec<&'static str>,
    delays: Vec<Option<i64>>,
    reasons: Vec<Option<String>>,
    records: Vec<String>,
    are_next: Vec<bool>,
}

/// The result of a batch of settlements.
pub(crate) struct Settled {
    /// In the order of the batch.
    pub(crate) outcomes: Vec<SettleOutcome>,
    /// Whether the history, and the dead letters, may have grown.
    pub(crate) has_ended: bool,
    pub(crate) has_died: bool,
}

/// Settles a batch in one transaction. After an error it may have been settled.
pub(crate) async fn settle(
    transactions: &Transactions,
    history: HistorySettings,
    batch: &[Settlement],
) -> Result<Settled, PostgresOutboxError> {
    let (mut ended, mut changed) = (Ended::default(), Changed::default());
    for one in batch {
        match one.verdict {
            Verdict::Delivered | Verdict::Forgotten => ended.push(one, None),
            Verdict::Failed(reason) => ended.push(one, Some(reason)),
            Verdict::AgainIn(delay) | Verdict::PutOff(delay) => {
                changed.push(one, "waiting", Some(to_ms(delay)), None)
            }
            Verdict::Dead(last) => changed.push(one, "dead", None, Some(last.to_string())),
            Verdict::Released => changed.push(one, "waiting", None, None),
        }
    }
    let keeps = history.is_kept();
    let (keeps_payloads, most) = (history.keeps_payloads, history.largest_payload());
    let mut statements = Vec::new();
    if !ended.ids.is_empty() {
        let params: Vec<Param<'_>> = vec![
            (&ended.ids, Type::UUID_ARRAY),
            (&ended.tokens, Type::INT8_ARRAY),
            (&ended.failures, Type::TEXT_ARRAY),
            (&ended.records, Type::TEXT_ARRAY),
            (&keeps, Type::BOOL),
            (&keeps_payloads, Type::BOOL),
            (&most, Type::INT8),
            (&ended.are_kept, Type::BOOL_ARRAY),
        ];
        statements.push(Statement::new(END, params));
    }
    if !changed.ids.is_empty() {
        let params: Vec<Param<'_>> = vec![
            (&changed.ids, Type::UUID_ARRAY),
            (&changed.tokens, Type::INT8_ARRAY),
            (&changed.states, Type::TEXT_ARRAY),
            (&changed.delays, Type::INT8_ARRAY),
            (&changed.reasons, Type::TEXT_ARRAY),
            (&changed.records, Type::TEXT_ARRAY),
            (&changed.are_next, Type::BOOL_ARRAY),
        ];
        statements.push(Statement::new(CHANGE, params));
    }
    let mut held = HashSet::new();
    if !statements.is_empty() {
        // Repeated, it would find its own work, and take the leases for lost.
        let found = transactions.run_once(Mode::Quick, &statements).await?;
        for row in found.iter().flatten() {
            let id: SqlId = row.try_get(0)?;
            held.insert(Lease::new(id.0, row.try_get::<_, i64>(1)?.cast_unsigned()));
        }
    }
    // The second settlement of a lease in one batch finds it lost.
    let mut outcome = |one: &Settlement| match held.remove(&one.lease) {
        true => SettleOutcome::Done,
        false => SettleOutcome::LeaseLost,
    };
    Ok(Settled {
        outcomes: batch.iter().map(&mut outcome).collect(),
        has_ended: !ended.ids.is_empty(),
        has_died: changed.states.contains(&"dead"),
    })
}

impl Ended {
    fn push(&mut self, one: &Settlement, failure: Option<FailReason>) {
        self.ids.push(SqlId(one.lease.delivery));
        self.tokens.push(one.lease.token.cast_signed());
        self.failures.push(failure.map(FailReason::name));
        self.records
            .push(AttemptRecord::to_text(one.record.as_slice()));
        self.are_kept.push(one.verdict != Verdict::Forgotten);
    }
}

impl Changed {
    fn push(
        &mut self,
        one: &Settlement,
        state: &'static str,
        delay: Option<i64>,
        reason: Option<String>,
    ) {
        self.ids.push(SqlId(one.lease.delivery));
        self.tokens.push(one.lease.token.cast_signed());
        self.states.push(state);
        self.delays.push(delay);
        self.reasons.push(reason);
        self.records
            .push(AttemptRecord::to_text(one.record.as_slice()));
        let is_next = matches!(one.verdict, Verdict::AgainIn(_));
        self.are_next.push(is_next);
    }
}
