//! Dead letters: the message is published to a stream of their own, and acknowledged once it is there.

use async_nats::{
    HeaderMap,
    jetstream::{Context, message::PublishMessage, stream::RawMessageErrorKind},
};
use bytes::Bytes;
use tower_webhook::event::Outcome;

use crate::{
    JetStreamOutboxError, JetStreamOutboxErrorKind as Kind,
    message::MESSAGE_ID,
    names::Name,
    send::{check_connection, publish_error},
};

const STATUS: &str = "Webhook-Outcome-Status";
const ERROR: &str = "Webhook-Outcome-Error";
const ATTEMPTS: &str = "Webhook-Attempts";

/// How its last attempt ended, and which one that was.
pub(crate) struct Death {
    pub(crate) outcome: Outcome,
    pub(crate) attempts: u32,
}

/// The message is in the stream until its acknowledgement: it is read there, as nobody holds it in
/// memory for as long as it is attempted. Says whether it was there: an operator may have purged it.
pub(crate) async fn bury(
    context: &Context,
    name: &Name,
    sequence: u64,
    death: Option<Death>,
) -> Result<bool, JetStreamOutboxError> {
    check_connection(&context.client())?;
    let stream = context.get_stream_no_info(name.stream()).await;
    let stream =
        stream.map_err(|error| JetStreamOutboxError::new(Kind::Other).with_source(error))?;
    let message = match stream.get_raw_message(sequence).await {
        Ok(message) => message,
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => return Ok(false),
        Err(error) => return Err(JetStreamOutboxError::new(Kind::Refused).with_source(error)),
    };
    let mut headers = HeaderMap::new();
    let mut own = HeaderMap::new();
    for (name, values) in message.headers.iter() {
        // What the server reads, as another message id, would be meant for it once more.
        if !name.to_string().starts_with("Nats-") {
            for value in values {
                headers.append(name.clone(), value.clone());
            }
        }
    }
    // With its number: a delivery that was brought back, and died again, is another dead letter.
    let id = match message.headers.get(MESSAGE_ID) {
        Some(id) => format!("{}.{sequence}.dead", id.as_str()),
        None => format!("{sequence}.dead"),
    };
    own.insert(MESSAGE_ID, id);
    if let Some(Death { outcome, attempts }) = death {
        own.insert(ATTEMPTS, attempts.to_string());
        match outcome {
            Outcome::Answered { status, .. } => own.insert(STATUS, status.as_str()),
            Outcome::Failed(error) => own.insert(ERROR, error.name()),
        }
    }
    for (name, values) in own.iter() {
        for value in values {
            headers.insert(name.clone(), value.clone());
        }
    }
    match publish(context, name, headers, message.payload).await {
        // Somebody else's, of which only that it was there is kept: it would come again and again.
        Err(error) if error.kind() == Kind::TooLarge => {
            publish(context, name, own, Bytes::new()).await?;
        }
        published => published?,
    }
    Ok(true)
}

async fn publish(
    context: &Context,
    name: &Name,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<(), JetStreamOutboxError> {
    let message = PublishMessage::build().payload(payload).headers(headers);
    let published = context.send_publish(name.dead_subject(), message).await;
    let acknowledged = published.map_err(publish_error)?.await;
    acknowledged.map(drop).map_err(publish_error)
}
