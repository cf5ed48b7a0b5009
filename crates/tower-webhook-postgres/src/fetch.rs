//! Leases what was chosen, and reads it.

use bytes::Bytes;
use tokio_postgres::{Row, types::Type};
use tower_webhook::{
    Payload, RequestId,
    endpoint::Host,
    outbox::{DueDeliveries, Envelope, Lease, LeasedDelivery, StoredDelivery, Want},
};

use crate::{
    PostgresOutboxError,
    choose::Chooser,
    fleet::{self, FleetLimit},
    lease::Leaser,
    loops::GROUP_BYTES,
    transaction::{Mode, Param, Statement, Transactions},
    value::{SqlId, failure_from, status_from, time_from},
};

/// Leases the chosen rows. Rows that another process has locked or leased meanwhile are skipped, without
/// waiting.
///
/// `state || ''` keeps the planner from using a partial index on waiting rows: with stale statistics it
/// would scan every due row instead of looking up the ids.
pub(crate) const CLAIM: &str = "
    UPDATE delivery SET state = 'leased', owner = $2, token = $3, run = false,
        leased_until = clock_timestamp() + $4 * interval '1 millisecond'
    WHERE id = ANY (ARRAY (
        SELECT id FROM delivery
        WHERE id = ANY ($1::uuid[]) AND state || '' = 'waiting' AND due_at <= now()
        FOR UPDATE SKIP LOCKED))
    RETURNING id";

/// Reads the leased rows. This must be a separate statement: the snapshot of the claim may predate an insert
/// that replaced a run, and would pair the old payload with the new envelope.
const READ: &str = "
    SELECT d.id, d.request_id, d.host, d.status, d.failure, d.attempt, d.accepted_at, d.token,
           p.envelope, p.body
    FROM delivery d LEFT JOIN payload p ON p.id = d.id AND p.id = ANY ($1::uuid[])
    WHERE d.id = ANY ($1::uuid[]) AND d.owner = $2 AND d.token = $3
    ORDER BY d.due_at, d.id";

/// How often rows are chosen again when other processes took all of the previous choice.
const TRIES: usize = 3;

/// Chooses, leases and reads due deliveries, as many bytes at once as one transaction has.
pub(crate) async fn fetch(
    transactions: &Transactions,
    leaser: Leaser,
    chooser: &mut Chooser,
    want: &Want,
    fleet_limit: Option<FleetLimit>,
) -> Result<DueDeliveries, PostgresOutboxError> {
    let mut want = want.clone();
    want.bytes = want.bytes.min(GROUP_BYTES);
    let want = &want;
    let mut due = DueDeliveries::default();
    let mut waits_for_others = false;
    for _ in 0..TRIES {
        let narrowed = match fleet_limit {
            Some(limit) => Some(limit.narrow(transactions, want).await?),
            None => None,
        };
        let choice = chooser
            .choose(transactions, narrowed.as_ref().unwrap_or(want))
            .await?;
        waits_for_others = narrowed.is_some_and(|narrowed| choice.is_cut_short(want, &narrowed));
        due.more = choice.has_left_some;
        due.next_due = choice.next_due;
        if choice.ids.is_empty() {
            break;
        }
        let token = Leaser::new_fetch_token();
        let ids: Vec<_> = choice.ids.iter().copied().map(SqlId).collect();
        let params: Vec<Param<'_>> = vec![
            (&ids, Type::UUID_ARRAY),
            (&leaser.owner, Type::INT8),
            (&token, Type::INT8),
        ];
        let read = Statement::new(READ, params.clone());
        let mut claim = [params, vec![(&leaser.ms, Type::INT8)]].concat();
        let (hosts, number) = (choice.hosts(), fleet_limit.map(FleetLimit::number));
        let statements = match &number {
            None => vec![Statement::new(CLAIM, claim), read],
            Some(number) => {
                let hosts: Param<'_> = (&hosts, Type::TEXT_ARRAY);
                claim.push(hosts.clone());
                claim.push((number, Type::INT8));
                let claim = Statement::new(fleet::CLAIM, claim);
                vec![FleetLimit::lock(hosts), claim, read]
            }
        };
        let found = transactions.run(Mode::Quick, &statements).await?;
        for row in found.last().into_iter().flatten() {
            due.deliveries.push(leased(row)?);
        }
        if !due.deliveries.is_empty() {
            break;
        }
        due.more = true;
        waits_for_others = fleet_limit.is_some();
    }
    if due.more && waits_for_others {
        let again_in = due.next_due.unwrap_or(fleet::AGAIN_IN);
        due.next_due = Some(again_in.min(fleet::AGAIN_IN));
    }
    Ok(due)
}

/// Columns are not trusted: what is sent comes from the envelope, which the dispatcher opens and checks.
fn leased(row: &Row) -> Result<LeasedDelivery, PostgresOutboxError> {
    let SqlId(id) = row.try_get(0)?;
    let request_id = RequestId::parse(row.try_get(1)?);
    let bytes = |index| -> Result<Bytes, tokio_postgres::Error> {
        let bytes: Option<&[u8]> = row.try_get(index)?;
        Ok(bytes.map(Bytes::copy_from_slice).unwrap_or_default())
    };
    let mut stored = StoredDelivery::new(
        id,
        request_id.unwrap_or_else(|| id.into()),
        Host::from(row.try_get::<_, &str>(2)?),
        status_from(row.try_get(3)?),
        time_from(row.try_get(6)?),
        Envelope::from_bytes(bytes(8)?),
        Payload::from(bytes(9)?),
    );
    stored.failure = failure_from(row.try_get(4)?);
    let attempt: i64 = row.try_get(5)?;
    let attempt = u32::try_from(attempt).unwrap_or(1).max(1);
    let token: i64 = row.try_get(7)?;
    let lease = Lease::new(id, token.cast_unsigned());
    Ok(LeasedDelivery::new(lease, attempt, stored))
}
