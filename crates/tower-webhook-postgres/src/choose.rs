//! Chooses due deliveries. It only reads, so an idle outbox writes nothing.
//!
//! The longest due come first. If the first `ROWS` of them do not fill the request because their hosts are
//! saturated, the hosts are visited round-robin. Each query reads a bounded number of rows or hosts from
//! an index.

use std::time::Duration;

use tokio_postgres::types::Type;
use tower_webhook::outbox::Want;

use crate::{
    PostgresOutboxError,
    choice::{Choice, Wanted},
    migrations::first,
    transaction::{Mode, Param, Statement, Transactions},
    value::to_i64,
};

/// The wanted ones among the first due rows, how many rows were read, and when the next row becomes due. A row
/// with the time `infinity` never does.
pub(crate) const DUE: &str = "
    WITH due AS (
        SELECT id, host, payload_len, due_at FROM delivery
        WHERE state = 'waiting' AND due_at <= now() ORDER BY due_at LIMIT $1
    ), counted AS (
        SELECT due.*, row_number() OVER (PARTITION BY host ORDER BY due_at, id) AS nth FROM due
    ), chosen AS (
        SELECT id, counted.host, payload_len, due_at
        FROM counted LEFT JOIN unnest($2::text[], $3::int8[]) AS wanted (host, number) USING (host)
        WHERE nth <= coalesce(number, $4) ORDER BY due_at, id LIMIT $5
    )
    SELECT id, host, payload_len, (SELECT count(*) FROM due),
           (SELECT (extract(epoch FROM due_at - now()) * 1000000)::int8 FROM delivery
            WHERE state = 'waiting' AND due_at > now() AND due_at < 'infinity'
            ORDER BY due_at LIMIT 1)
    FROM (VALUES (0)) AS always LEFT JOIN chosen ON true ORDER BY due_at, id";

/// The wanted due rows of the next hosts. A loose index scan: one lookup for the next host and one for its
/// rows, however many rows wait for it.
pub(crate) const HOSTS: &str = "
    WITH RECURSIVE hosts (host, nth) AS (
        (SELECT host, 1 FROM delivery WHERE state = 'waiting' AND host > $1 COLLATE \"C\"
         ORDER BY host LIMIT 1)
        UNION ALL
        SELECT next.host, hosts.nth + 1 FROM hosts CROSS JOIN LATERAL (
            SELECT d.host FROM delivery d WHERE d.state = 'waiting' AND d.host > hosts.host
            ORDER BY d.host LIMIT 1) AS next
        WHERE hosts.nth < $5
    )
    SELECT due.id, hosts.host, due.payload_len
    FROM hosts LEFT JOIN unnest($2::text[], $3::int8[]) AS wanted (host, number) USING (host)
        LEFT JOIN LATERAL (
            SELECT d.id, d.payload_len FROM delivery d
            WHERE d.state = 'waiting' AND d.host = hosts.host AND d.due_at <= now()
            ORDER BY d.due_at LIMIT coalesce(wanted.number, $4)) AS due ON true
    ORDER BY hosts.nth LIMIT $6";

/// The due rows of the named hosts.
pub(crate) const NAMED: &str = "
    SELECT due.id, wanted.host, due.payload_len
    FROM unnest($1::text[], $2::int8[]) AS wanted (host, number) CROSS JOIN LATERAL (
        SELECT d.id, d.payload_len, d.due_at FROM delivery d
        WHERE d.state = 'waiting' AND d.host = wanted.host COLLATE \"C\" AND d.due_at <= now()
        ORDER BY d.due_at LIMIT wanted.number) AS due
    ORDER BY due.due_at, due.id LIMIT $3";

/// The number of rows that `DUE` reads, and of hosts that `HOSTS` visits.
pub(crate) const ROWS: usize = 1_024;
pub(crate) const HOSTS_AT_ONCE: usize = 256;

/// Remembers the host at which the last round stopped.
#[derive(Default)]
pub(crate) struct Chooser {
    last_host: String,
}

impl Chooser {
    pub(crate) async fn choose(
        &mut self,
        transactions: &Transactions,
        want: &Want,
    ) -> Result<Choice, PostgresOutboxError> {
        let wanted = Wanted::new(want);
        let mut choice = Choice::default();
        if want.of_other_hosts == 0 {
            let params: Vec<Param<'_>> = vec![
                (&wanted.hosts, Type::TEXT_ARRAY),
                (&wanted.numbers, Type::INT8_ARRAY),
                (&wanted.all, Type::INT8),
            ];
            let named = Statement::new(NAMED, params);
            let found = transactions.run(Mode::Look, &[named]).await?;
            choice.take(want, found.iter().flatten())?;
            // Other hosts were not looked at.
            choice.has_left_some = true;
            return Ok(choice);
        }
        // Without limits by host, the first rows are the wanted ones.
        let is_any = want.of_host.is_empty() && want.of_other_hosts >= want.deliveries;
        let rows = match is_any {
            true => ROWS.min(want.deliveries.saturating_add(1)),
            false => ROWS,
        };
        let most = to_i64(rows);
        let params: Vec<Param<'_>> = vec![
            (&most, Type::INT8),
            (&wanted.hosts, Type::TEXT_ARRAY),
            (&wanted.numbers, Type::INT8_ARRAY),
            (&wanted.others, Type::INT8),
            (&wanted.all, Type::INT8),
        ];
        let due = Statement::new(DUE, params);
        let found = transactions.run(Mode::Look, &[due]).await?;
        let looked_at: i64 = first(&found, 3)?.unwrap_or(0);
        let micros: Option<Option<i64>> = first(&found, 4)?;
        let micros = micros.flatten().and_then(|micros| micros.try_into().ok());
        choice.next_due = micros.map(Duration::from_micros);
        choice.take(want, found.iter().flatten())?;
        choice.has_left_some |= looked_at > to_i64(choice.ids.len());
        if looked_at == to_i64(ROWS) {
            choice.has_left_some = true;
            self.go_through_hosts(transactions, want, &wanted, &mut choice)
                .await?;
        }
        Ok(choice)
    }

    /// Visits hosts until something is found or every host had its turn.
    async fn go_through_hosts(
        &mut self,
        transactions: &Transactions,
        want: &Want,
        wanted: &Wanted,
        choice: &mut Choice,
    ) -> Result<(), PostgresOutboxError> {
        let began_after = self.last_host.clone();
        let mut has_wrapped = false;
        let at_once = to_i64(HOSTS_AT_ONCE);
        // Some of these may have been chosen already.
        let most = to_i64(want.deliveries.saturating_add(ROWS));
        while choice.has_room(want) {
            let params: Vec<Param<'_>> = vec![
                (&self.last_host, Type::TEXT),
                (&wanted.hosts, Type::TEXT_ARRAY),
                (&wanted.numbers, Type::INT8_ARRAY),
                (&wanted.others, Type::INT8),
                (&at_once, Type::INT8),
                (&most, Type::INT8),
            ];
            let hosts = Statement::new(HOSTS, params);
            let found = transactions.run(Mode::Look, &[hosts]).await?;
            let rows = found.iter().flatten();
            let mut last = None;
            for row in rows.clone() {
                last = Some(row.try_get::<_, String>(1)?);
            }
            let before = choice.ids.len();
            let reached = choice.take(want, rows)?;
            match reached.or(last) {
                Some(host) => {
                    let is_over = has_wrapped && host >= began_after;
                    self.last_host = host;
                    if is_over || choice.ids.len() > before {
                        return Ok(());
                    }
                }
                None if has_wrapped || began_after.is_empty() => {
                    self.last_host.clear();
                    return Ok(());
                }
                None => {
                    has_wrapped = true;
                    self.last_host.clear();
                }
            }
        }
        Ok(())
    }
}
