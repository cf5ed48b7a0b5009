use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::oneshot;
use tower_service::Service;

use super::{
    SqliteOutboxError,
    command::{Accept, Command, Handle},
    error::gone,
    secrets::Secrets,
    text::headers_to_text,
};
use crate::{BoxError, Delivery, outbox::Accepted};

/// Accepts deliveries; resolves once they are on the disk.
#[derive(Clone)]
pub struct SqliteSink {
    handle: Handle,
    secrets: Arc<Secrets>,
}

impl SqliteSink {
    pub(super) fn new(handle: Handle, secrets: Arc<Secrets>) -> Self {
        Self { handle, secrets }
    }

    #[cfg(test)]
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Whatever does not need the file is done here, not on the one thread that all share.
    fn accept(
        &self,
        delivery: Delivery,
    ) -> Result<oneshot::Receiver<Result<Accepted, SqliteOutboxError>>, SqliteOutboxError> {
        let secret = delivery.secret();
        let secret = secret.map(|secret| self.secrets.seal(secret, delivery.id()));
        let (reply, answer) = oneshot::channel();
        self.handle.send(Command::Accept(Accept {
            endpoint: delivery.endpoint().to_url_string(),
            headers: headers_to_text(delivery.headers()),
            secret: secret.transpose()?,
            delivery,
            reply,
        }))?;
        Ok(answer)
    }
}

impl Service<Delivery> for SqliteSink {
    type Response = Accepted;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Accepted, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, delivery: Delivery) -> Self::Future {
        let answer = self.accept(delivery);
        Box::pin(async { Ok(answer?.await.map_err(|_| gone())??) })
    }
}

impl fmt::Debug for SqliteSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteSink").finish_non_exhaustive()
    }
}
