use rusqlite::ToSql;

use tower_webhook::outbox::{DeliveryFilter, DeliveryState};

use crate::clock::to_ms;

/// A condition with its values.
///
/// What is not asked for is not in it, so that an index is used for what is.
pub(crate) type Condition = (String, Vec<Box<dyn ToSql>>);

/// Over the table of what is to be delivered, or is dead.
pub(crate) fn of_deliveries(filter: &DeliveryFilter) -> Condition {
    let state = filter.state().map(|state| match state {
        DeliveryState::Running => "state = 'leased' AND run = 1",
        // Those that are leased wait, too.
        DeliveryState::Waiting => "(state = 'waiting' OR state = 'leased' AND run = 0)",
        DeliveryState::Dead => "state = 'dead'",
        _ => "FALSE",
    });
    with_state(filter, "request_id = ?", state)
}

/// Of those that are in one state only.
pub(crate) fn of_state(filter: &DeliveryFilter, state: &'static str) -> Condition {
    with_state(filter, "request_id = ?", Some(state))
}

/// Over the table of what has ended.
pub(crate) fn of_history(filter: &DeliveryFilter) -> Condition {
    let state = filter.state().map(|state| match state {
        DeliveryState::Delivered => "failure IS NULL",
        DeliveryState::Failed => "failure IS NOT NULL",
        _ => "FALSE",
    });
    // Each half is found by an index of its own.
    let of_request = "(request_id = ? OR request_id IS NULL AND id = ?)";
    with_state(filter, of_request, state)
}

fn with_state(
    filter: &DeliveryFilter,
    of_request: &'static str,
    state: Option<&'static str>,
) -> Condition {
    let mut conditions = vec!["TRUE"];
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    if let Some(id) = filter.id() {
        conditions.push("id = ?");
        values.push(Box::new(id.to_string()));
    }
    if let Some(id) = filter.request_id() {
        conditions.push(of_request);
        for _ in of_request.matches('?') {
            values.push(Box::new(id.as_str().to_owned()));
        }
    }
    if let Some(host) = filter.endpoint_host() {
        conditions.push("host = ?");
        values.push(Box::new(host.to_owned()));
    }
    if let Some(since) = filter.since() {
        conditions.push("accepted_at >= ?");
        values.push(Box::new(to_ms(since)));
    }
    if let Some(before) = filter.before() {
        conditions.push("accepted_at < ?");
        values.push(Box::new(to_ms(before)));
    }
    conditions.extend(state);
    (conditions.join(" AND "), values)
}
