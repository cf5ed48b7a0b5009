use rusqlite::ToSql;

use super::clock::to_ms;
use crate::outbox::{DeliveryFilter, DeliveryState};

/// A condition over the delivery table with its values, the last of which is the limit.
///
/// What is not asked for is not in it, so that an index is used for what is.
pub(super) fn to_sql(filter: &DeliveryFilter) -> (String, Vec<Box<dyn ToSql>>) {
    let mut conditions = vec!["TRUE"];
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let mut add = |condition, value| {
        conditions.push(condition);
        values.push(value);
    };
    if let Some(id) = filter.id() {
        add("id = ?", Box::new(id.as_str().to_owned()) as Box<dyn ToSql>);
    }
    if let Some(host) = filter.endpoint_host() {
        add("host = ?", Box::new(host.to_owned()));
    }
    let (since, until) = filter.accepted();
    if let Some(since) = since {
        add("accepted_at >= ?", Box::new(to_ms(since)));
    }
    if let Some(until) = until {
        add("accepted_at < ?", Box::new(to_ms(until)));
    }
    match filter.state() {
        Some(DeliveryState::Dead) => conditions.push("state = 'dead'"),
        Some(DeliveryState::Waiting) => conditions.push("state <> 'dead'"),
        None => {}
    }
    values.push(Box::new(i64::try_from(filter.limit()).unwrap_or(i64::MAX)));
    (conditions.join(" AND "), values)
}
