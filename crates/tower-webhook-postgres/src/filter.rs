use std::time::SystemTime;

use tokio_postgres::types::Type;
use tower_webhook::outbox::{DeliveryFilter, DeliveryState};

use crate::{
    transaction::Param,
    value::{SqlId, storable},
};

/// A condition, of words that stand here and of numbered parameters alone. What is not asked for is
/// not in it, so that an index is used for what is.
pub(crate) struct Condition {
    pub(crate) sql: String,
    values: Vec<Value>,
}

enum Value {
    Id(SqlId),
    Text(String),
    Time(SystemTime),
}

impl Condition {
    /// Over the table of what is to be delivered, or is dead.
    pub(crate) fn of_deliveries(filter: &DeliveryFilter, first: usize) -> Self {
        let state = filter.state().map(|state| match state {
            DeliveryState::Running => "state = 'leased' AND run",
            // Those that are leased wait, too.
            DeliveryState::Waiting => "(state = 'waiting' OR state = 'leased' AND NOT run)",
            DeliveryState::Dead => "state = 'dead'",
            _ => "FALSE",
        });
        Self::new(filter, state, first)
    }

    /// The same, in whatever state.
    pub(crate) fn of_any_state(filter: &DeliveryFilter, first: usize) -> Self {
        Self::new(filter, None, first)
    }

    /// Over the table of what has ended.
    pub(crate) fn of_history(filter: &DeliveryFilter, first: usize) -> Self {
        let state = filter.state().map(|state| match state {
            DeliveryState::Delivered => "failure IS NULL",
            DeliveryState::Failed => "failure IS NOT NULL",
            _ => "FALSE",
        });
        Self::new(filter, state, first)
    }

    /// The numbers of its parameters begin with this one.
    fn new(filter: &DeliveryFilter, state: Option<&'static str>, first: usize) -> Self {
        let mut sql = String::from("TRUE");
        let mut values = Vec::new();
        let mut add = |compared: &str, value| {
            sql.push_str(&format!(" AND {compared} ${}", first + values.len()));
            values.push(value);
        };
        if let Some(id) = filter.id() {
            add("id =", Value::Id(SqlId(id)));
        }
        if let Some(id) = filter.request_id() {
            add("request_id =", Value::Text(id.as_str().to_owned()));
        }
        if let Some(host) = filter.endpoint_host() {
            // A NUL is in no text of the server's.
            add("host =", Value::Text(host.replace('\0', "\u{1}")));
        }
        if let Some(since) = filter.since() {
            add("accepted_at >=", Value::Time(storable(since)));
        }
        if let Some(before) = filter.before() {
            add("accepted_at <", Value::Time(storable(before)));
        }
        if let Some(state) = state {
            sql.push_str(" AND ");
            sql.push_str(state);
        }
        Self { sql, values }
    }

    pub(crate) fn params(&self) -> impl Iterator<Item = Param<'_>> {
        self.values.iter().map(|value| match value {
            Value::Id(id) => (id as _, Type::UUID),
            Value::Text(text) => (text as _, Type::TEXT),
            Value::Time(time) => (time as _, Type::TIMESTAMPTZ),
        })
    }

    /// How many parameters it has.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_asked_for_becomes_sql() {
        let filter = DeliveryFilter::new()
            .with_endpoint_host("x' OR TRUE --")
            .with_state(DeliveryState::Dead);
        let condition = Condition::of_deliveries(&filter, 3);
        assert_eq!(condition.sql, "TRUE AND host = $3 AND state = 'dead'");
        assert_eq!(condition.len(), 1);
    }
}
