//! The list is read in parts, so that an index finds what is asked for among very many others, whatever the
//! planner knows of them.

use tower_webhook::outbox::{DeliveryFilter, DeliveryState};

/// Deliveries in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    state: &'static str,
    /// They are so few that they are all read, and then sorted.
    is_few: bool,
}

const ANY: Part = Part::new("TRUE");
const WAITING: Part = Part::new("state = 'waiting'");
const LEASED: Part = Part::few("state = 'leased' AND NOT run");
const RUNNING: Part = Part::few("state = 'leased' AND run");
const DEAD: Part = Part::new("state = 'dead'");

impl Part {
    const fn new(state: &'static str) -> Self {
        let is_few = false;
        Self { state, is_few }
    }

    const fn few(state: &'static str) -> Self {
        let is_few = true;
        Self { state, is_few }
    }

    /// Those for which the condition holds, to be selected from.
    pub(crate) fn rows(self, condition: &str) -> String {
        let Self { state, is_few } = self;
        // Without `OFFSET 0` statistics that are old could make it walk through all in the order of ids.
        match is_few {
            true => {
                format!("(SELECT * FROM delivery WHERE {condition} AND {state} OFFSET 0) AS few")
            }
            false => format!("delivery WHERE {condition} AND {state}"),
        }
    }
}

/// What to read of those that are not delivered, all in all what the filter lets through.
pub(crate) fn of_deliveries(filter: &DeliveryFilter) -> Vec<Part> {
    let has_id = filter.id().is_some() || filter.request_id().is_some();
    match filter.state() {
        None if has_id || filter.endpoint_host().is_none() => vec![ANY],
        None => vec![WAITING, LEASED, RUNNING, DEAD],
        Some(DeliveryState::Waiting) => vec![WAITING, LEASED],
        Some(DeliveryState::Running) => vec![RUNNING],
        Some(DeliveryState::Dead) => vec![DEAD],
        Some(_) => Vec::new(),
    }
}
