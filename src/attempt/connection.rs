use std::{future::Future, time::Duration};

use http::{Extensions, Request, Response, Uri};
use hyper::{
    body::Incoming,
    client::conn::{
        TrySendError,
        http1::{Builder, SendRequest},
    },
};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::Connection as _;
use tokio::{task::AbortHandle, time::timeout};
use tower::ServiceExt;

use super::{capped::Heard, error::ConnectError, guard::Guard};
use crate::{BoxError, Payload};

/// The head of an answer: bytes, and headers.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;

/// How long what is left of a request may take to be sent once it has been answered.
const SENDING: Duration = Duration::from_secs(1);

/// A connection to a receiver, for one attempt at a time. Dropped, it is closed, whatever it does.
pub(super) struct Connection {
    sender: SendRequest<Payload>,
    heard: Heard,
    task: AbortHandle,
}

impl Connection {
    /// Connects, the TLS handshake included, within that time.
    pub(super) async fn open(
        connector: HttpsConnector<Guard>,
        endpoint: Uri,
        within: Duration,
    ) -> Result<Self, BoxError> {
        let stream = timeout(within, connector.oneshot(endpoint))
            .await
            .map_err(|_elapsed| ConnectError::TimedOut)??;
        let mut extras = Extensions::new();
        stream.connected().get_extras(&mut extras);
        let heard = extras.remove().unwrap_or_default();
        let (sender, connection) = Builder::new()
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .handshake(stream)
            .await?;
        // What it ends with, the attempt that uses it hears as well.
        let task = tokio::spawn(async { drop(connection.await) }).abort_handle();
        Ok(Self {
            sender,
            heard,
            task,
        })
    }

    /// Sends a request in origin form, with its `Host`.
    pub(super) fn send(
        &mut self,
        request: Request<Payload>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Payload>>>> + use<>
    {
        self.heard.begin_anew();
        self.sender.try_send_request(request)
    }

    /// Whether it can take another request, once the answer to the last one was read.
    ///
    /// A receiver may answer before it has read the request: one that does not read the rest soon
    /// is not waited for.
    pub(super) async fn is_free(&mut self) -> bool {
        if self.is_idle() {
            return true;
        }
        let ready = Box::pin(timeout(SENDING, self.sender.ready()));
        matches!(ready.await, Ok(Ok(())))
    }

    /// Whether it can take another request at this moment.
    pub(super) fn is_idle(&self) -> bool {
        self.sender.is_ready()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}
