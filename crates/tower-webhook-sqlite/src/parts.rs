//! The list is read in parts, each by an index that finds what is asked for among very many others.

use rusqlite::{Connection, ToSql};
use tower_webhook::outbox::{DeliveryFilter, DeliveryState};

use crate::filter::{self, Condition};

pub(crate) struct Part {
    /// `None` where the newest are read until there are enough of those that are asked for.
    pub(crate) index: Option<&'static str>,
    pub(crate) condition: Condition,
}

/// Up to so many are sorted by age. Where more wait, those are often met among the newest.
const FEW: i64 = 20_000;

/// What to read of those that are not delivered, all in all what the filter lets through.
pub(crate) fn of_deliveries(
    conn: &Connection,
    filter: &DeliveryFilter,
) -> rusqlite::Result<Vec<Part>> {
    let (state, host) = (filter.state(), filter.endpoint_host());
    let has_id = filter.id().is_some() || filter.request_id().is_some();
    if has_id || (state.is_none() && host.is_none()) {
        let condition = filter::of_deliveries(filter);
        return Ok(vec![Part {
            index: None,
            condition,
        }]);
    }
    let is_wanted = |of: DeliveryState| state.is_none_or(|state| state == of);
    let mut parts = Vec::new();
    let mut add = |index, state| {
        let condition = filter::of_state(filter, state);
        parts.push(Part { index, condition });
    };
    if is_wanted(DeliveryState::Waiting) {
        let index = match host {
            Some(_) => "delivery_host",
            None => "delivery_due",
        };
        match few_wait(conn, host)? {
            true => add(Some(index), "state = 'waiting'"),
            // With the plus it is read in the order of ids: no index of what waits is used, and sorted.
            false => add(None, "+state = 'waiting'"),
        }
        add(Some("delivery_owner"), "state = 'leased' AND run = 0");
    }
    if is_wanted(DeliveryState::Running) {
        add(Some("delivery_owner"), "state = 'leased' AND run = 1");
    }
    if is_wanted(DeliveryState::Dead) {
        let index = match host {
            Some(_) => "delivery_dead_host",
            None => "delivery_dead_id",
        };
        add(Some(index), "state = 'dead'");
    }
    Ok(parts)
}

fn few_wait(conn: &Connection, host: Option<&str>) -> rusqlite::Result<bool> {
    let of_host = host.map_or("", |_| "AND host = ?2");
    let sql = format!(
        "SELECT count(*) FROM (
             SELECT 1 FROM delivery WHERE state = 'waiting' {of_host} LIMIT ?1)"
    );
    let most = FEW + 1;
    let values: &[&dyn ToSql] = match &host {
        Some(host) => &[&most, host],
        None => &[&most],
    };
    let found: i64 = conn.query_row(&sql, values, |row| row.get(0))?;
    Ok(found <= FEW)
}
