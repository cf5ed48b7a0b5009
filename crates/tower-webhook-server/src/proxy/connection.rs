use std::{error::Error, sync::Arc};

use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::{
    headers::{HEADER_BYTES, HEADER_LINES},
    link::{Link, Stream, Watch},
    replay::Sending,
};

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// A connection to the service.
pub(crate) struct Connection {
    /// No other one has it.
    pub(crate) id: u64,
    kind: Kind,
}

enum Kind {
    Http1 {
        sender: http1::SendRequest<Sending>,
        watch: Arc<Watch>,
        used: bool,
    },
    Http2(http2::SendRequest<Sending>),
}

/// There is no answer.
pub(crate) struct Failed {
    pub(crate) seen: Seen,
    pub(crate) error: BoxError,
}

/// Whether the service has seen the request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    No,
    /// A kept connection has ended without a byte of an answer: most often it was just closing.
    HardlyAny,
    Perhaps,
}

impl Connection {
    pub(crate) async fn http1(id: u64, stream: Stream) -> Result<Self, BoxError> {
        let (link, watch) = Link::new(stream);
        let (mut sender, connection) = http1::Builder::new()
            .preserve_header_case(true)
            .max_headers(HEADER_LINES)
            // What must not be ignored, `Watch` sees.
            .ignore_invalid_headers_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .handshake(TokioIo::new(link))
            .await?;
        tokio::spawn(connection.with_upgrades());
        sender.ready().await?;
        let kind = Kind::Http1 {
            sender,
            watch,
            used: false,
        };
        Ok(Self { id, kind })
    }

    pub(crate) async fn http2(id: u64, stream: Stream) -> Result<Self, BoxError> {
        let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(HEADER_BYTES)
            .handshake(stream.into_inner())
            .await?;
        tokio::spawn(connection);
        sender.ready().await?;
        let kind = Kind::Http2(sender);
        Ok(Self { id, kind })
    }

    /// Whether a request can be sent now, as far as is known.
    pub(crate) fn is_ready(&self) -> bool {
        match &self.kind {
            Kind::Http1 { sender, .. } => sender.is_ready(),
            Kind::Http2(sender) => sender.is_ready(),
        }
    }

    /// The same connection for another request meanwhile, which HTTP/2 alone has.
    pub(crate) fn share(&self) -> Option<Self> {
        let Kind::Http2(sender) = &self.kind else {
            return None;
        };
        let kind = Kind::Http2(sender.clone());
        Some(Self { id: self.id, kind })
    }

    pub(crate) async fn send(
        &mut self,
        request: Request<Sending>,
    ) -> Result<Response<Incoming>, Failed> {
        match &mut self.kind {
            Kind::Http1 {
                sender,
                watch,
                used,
            } => {
                watch.next_answer();
                let used = std::mem::replace(used, true);
                let answer = sender.try_send_request(request).await;
                answer.map_err(|failed| {
                    failed_with(failed, |error| {
                        match used && !watch.has_answered() && !error.is_user() {
                            true => Seen::HardlyAny,
                            false => Seen::Perhaps,
                        }
                    })
                })
            }
            Kind::Http2(sender) => {
                let answer = sender.try_send_request(request).await;
                answer.map_err(|failed| {
                    failed_with(failed, |error| match is_unprocessed(error) {
                        true => Seen::No,
                        false => Seen::Perhaps,
                    })
                })
            }
        }
    }

    /// Waits until another request can be sent; false when that will never be.
    pub(crate) async fn is_free(&mut self) -> bool {
        match &mut self.kind {
            Kind::Http1 { sender, .. } => sender.ready().await.is_ok(),
            Kind::Http2(sender) => sender.ready().await.is_ok(),
        }
    }
}

fn failed_with(
    mut failed: TrySendError<Request<Sending>>,
    seen: impl FnOnce(&hyper::Error) -> Seen,
) -> Failed {
    let unsent = failed.take_message().is_some();
    let error = failed.into_error();
    Failed {
        seen: if unsent { Seen::No } else { seen(&error) },
        error: error.into(),
    }
}

/// The service says that it has not looked at the request (RFC 9113, 8.7).
fn is_unprocessed(error: &hyper::Error) -> bool {
    let error = error.source().and_then(|error| error.downcast_ref());
    error.is_some_and(|error: &h2::Error| {
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        // Only the streams that it names as unseen end with its GOAWAY.
        error.is_remote() && (refused || error.is_go_away())
    })
}
