//! What is sent to the server, and how its answers are awaited.

use std::error::Error;

use async_nats::{
    HeaderMap, Request, RequestErrorKind, Subject,
    jetstream::{
        self, AckKind, ErrorCode,
        context::{PublishAckFuture, PublishError, PublishErrorKind},
        message::PublishMessage,
    },
};
use bytes::Bytes;
use tokio::time::timeout;

use crate::{JetStreamOutboxError, JetStreamOutboxErrorKind as Kind, engine::Engine};

impl Engine {
    /// Publishes without waiting for the acknowledgement.
    pub(crate) async fn publish(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<PublishAckFuture, JetStreamOutboxError> {
        let mut message = PublishMessage::build().payload(payload);
        if let Some(headers) = headers {
            message = message.headers(headers);
        }
        let published = self.context.send_publish(subject, message);
        match timeout(self.settings.timeout, published).await {
            Ok(published) => published.map_err(publish_error),
            Err(_) => Err(Kind::TimedOut.into()),
        }
    }

    /// Waits until the streams' servers have it. Its number in the stream.
    pub(crate) async fn acknowledged(
        &self,
        published: PublishAckFuture,
    ) -> Result<u64, JetStreamOutboxError> {
        match timeout(self.settings.timeout, published.into_future()).await {
            Ok(Ok(taken)) => Ok(taken.sequence),
            Ok(Err(error)) => Err(publish_error(error)),
            Err(_) => Err(Kind::TimedOut.into()),
        }
    }

    /// Acknowledges a message in one way or another, and waits until the server has heard it: what
    /// becomes of the message is so for the next pull.
    pub(crate) async fn answer(
        &self,
        reply: &Subject,
        kind: AckKind,
    ) -> Result<(), JetStreamOutboxError> {
        let request = Request::new().payload(kind.into());
        let sent = self.client.send_request(reply.clone(), request);
        match timeout(2 * self.settings.timeout, sent).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                let kind = match error.kind() {
                    RequestErrorKind::TimedOut => Kind::TimedOut,
                    // The consumer is gone, and with it every lease.
                    RequestErrorKind::NoResponders => Kind::Refused,
                    _ => Kind::Other,
                };
                Err(JetStreamOutboxError::new(kind).with_source(error))
            }
            Err(_) => Err(Kind::TimedOut.into()),
        }
    }

    /// The same for what nobody waits for: what is not heard is delivered again after a lease.
    pub(crate) async fn hint(&self, reply: Subject, kind: AckKind) {
        if let Err(error) = self.client.publish(reply, kind.into()).await {
            tracing::debug!(%error, "a message that is handed back comes after its lease");
        }
    }
}

pub(crate) fn publish_error(error: PublishError) -> JetStreamOutboxError {
    let kind = match error.kind() {
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => Kind::TimedOut,
        PublishErrorKind::MaxPayloadExceeded => Kind::TooLarge,
        _ if is_full(&error) => Kind::Full,
        _ => Kind::Refused,
    };
    JetStreamOutboxError::new(kind).with_source(error)
}

/// A limit of the server, the account or the stream is reached.
fn is_full(error: &PublishError) -> bool {
    const FULL: [ErrorCode; 5] = [
        ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
        ErrorCode::INSUFFICIENT_RESOURCES,
        ErrorCode::STORAGE_RESOURCES_EXCEEDED,
        ErrorCode::STREAM_STORE_FAILED,
        ErrorCode::TEMP_STORAGE_FAILED,
    ];
    let reason = error.source().and_then(|reason| reason.downcast_ref());
    reason.is_some_and(|reason: &jetstream::Error| FULL.contains(&reason.error_code()))
}
