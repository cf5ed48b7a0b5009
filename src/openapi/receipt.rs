use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{document::Document, error::OpenApiError, wire::Wire};
use crate::{
    event::{AttemptError, Outcome},
    outbox::Verdict,
};

/// What becomes of a delivery that the endpoint has answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Receipt {
    Delivered,
    Again,
    Final,
}

/// What each answer of the endpoint leads to, as the dispatcher's retry policy has it: for a class of
/// statuses what most of them lead to, and apart from it those that lead to something else.
pub(super) fn receipts(document: &mut Document<'_>, wire: &Wire) -> Result<Value, OpenApiError> {
    let mut receipts = Map::new();
    for class in 2..=5 {
        let statuses = class * 100..class * 100 + 100;
        let of_each: Vec<_> = statuses
            .map(|status| (status, Receipt::of_status(wire, status)))
            .collect();
        let usual = usual(&of_each);
        receipts.insert(format!("{class}XX"), usual.reference(document, wire)?);
        for (status, receipt) in of_each.into_iter().filter(|&(_, receipt)| receipt != usual) {
            receipts.insert(status.to_string(), receipt.reference(document, wire)?);
        }
    }
    Ok(Value::Object(receipts))
}

/// What becomes of a delivery that is not answered.
pub(super) fn of_no_answer(wire: &Wire) -> &'static str {
    match Receipt::of(wire, Outcome::Failed(AttemptError::TimedOut)) {
        Receipt::Again => "tried again",
        Receipt::Delivered | Receipt::Final => "not tried again",
    }
}

impl Receipt {
    fn of_status(wire: &Wire, status: u16) -> Self {
        let status = StatusCode::from_u16(status).expect("three digits are a status");
        Self::of(wire, Outcome::answered(status, None))
    }

    fn of(wire: &Wire, outcome: Outcome) -> Self {
        match wire.dispatcher().verdict_on(outcome) {
            Verdict::Delivered => Self::Delivered,
            Verdict::AgainIn(_) | Verdict::PutOff(_) => Self::Again,
            Verdict::Dead(_) | Verdict::Failed(_) | Verdict::Released | Verdict::Forgotten => {
                Self::Final
            }
        }
    }

    fn reference(self, document: &mut Document<'_>, wire: &Wire) -> Result<Value, OpenApiError> {
        let (name, description) = match self {
            Self::Delivered => ("WebhookDelivered", "Delivered.".to_owned()),
            Self::Final => (
                "WebhookNotDelivered",
                "Final: the delivery has failed and is not tried again.".to_owned(),
            ),
            Self::Again => {
                let attempts = wire.dispatcher().attempts();
                (
                    "WebhookTriedAgain",
                    format!("Tried again: {attempts} attempts at most."),
                )
            }
        };
        document.component("responses", name, &json!({ "description": description }))
    }
}

/// The one that most of them are.
fn usual(of_each: &[(u16, Receipt)]) -> Receipt {
    let number = |one: &Receipt| of_each.iter().filter(|(_, other)| other == one).count();
    let all = [Receipt::Delivered, Receipt::Again, Receipt::Final];
    all.into_iter().max_by_key(number).unwrap_or(Receipt::Final)
}
