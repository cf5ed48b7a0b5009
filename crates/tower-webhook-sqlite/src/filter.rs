use rusqlite::ToSql;

use tower_webhook::outbox::{DeliveryFilter, DeliveryState};

use crate::clock::to_ms;

/// A condition over the delivery table with its values.
///
/// What is not asked for is not in it, so that an index is used for what is.
pub(crate) fn to_sql(filter: &DeliveryFilter) -> (String, Vec<Box<dyn ToSql>>) {
    let mut conditions = vec!["TRUE"];
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let mut add = |condition, value| {
        conditions.push(condition);
        values.push(value);
    };
    if let Some(id) = filter.id() {
        add("id = ?", Box::new(id.to_string()) as Box<dyn ToSql>);
    }
    if let Some(id) = filter.request_id() {
        add("request_id = ?", Box::new(id.as_str().to_owned()));
    }
    if let Some(host) = filter.endpoint_host() {
        add("host = ?", Box::new(host.to_owned()));
    }
    if let Some(since) = filter.since() {
        add("accepted_at >= ?", Box::new(to_ms(since)));
    }
    if let Some(before) = filter.before() {
        add("accepted_at < ?", Box::new(to_ms(before)));
    }
    match filter.state() {
        Some(DeliveryState::Dead) => conditions.push("state = 'dead'"),
        // Those that are leased wait, too.
        Some(_) => conditions.push("state <> 'dead'"),
        None => {}
    }
    (conditions.join(" AND "), values)
}
