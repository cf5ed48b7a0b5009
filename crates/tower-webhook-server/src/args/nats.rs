//! An outbox in NATS JetStream, as the options describe it.

use std::path::PathBuf;

use futures::{FutureExt as _, TryFutureExt as _};
use tower_webhook::outbox::{Sealing, SealingKey};
use tower_webhook_nats::{
    JetStreamOutbox, JetStreamOutboxBuilder, JetStreamOutboxError, JetStreamOutboxErrorKind as Kind,
};

use super::late::LateOutbox;

#[derive(Clone)]
pub(super) struct Nats {
    pub(super) addresses: String,
    pub(super) key: SealingKey,
    pub(super) replicas: usize,
    pub(super) credentials: Option<PathBuf>,
    pub(super) authorities: Option<PathBuf>,
    /// The largest body.
    pub(super) max_payload: usize,
}

impl Nats {
    fn builder(&self) -> JetStreamOutboxBuilder {
        let mut builder = JetStreamOutbox::builder(&self.addresses)
            .with_key(self.key.clone())
            .with_replicas(self.replicas)
            .with_max_payload(self.max_payload);
        if let Some(file) = &self.credentials {
            builder = builder.with_credentials_file(file);
        }
        if let Some(file) = &self.authorities {
            builder = builder.with_root_certificates(file);
        }
        builder
    }

    pub(super) async fn open(self) -> Result<JetStreamOutbox, JetStreamOutboxError> {
        self.builder().connect().await
    }

    /// Opened later, where the servers are away. What is wrong with the settings is an error at once.
    pub(super) async fn open_now_or_later(
        self,
    ) -> Result<LateOutbox<JetStreamOutbox>, JetStreamOutboxError> {
        let opened = match self.clone().open().await {
            Ok(opened) => Some(opened),
            Err(error) if matches!(error.kind(), Kind::Unreachable | Kind::TimedOut) => {
                tracing::warn!(%error, "webhooks wait until they can go on");
                None
            }
            Err(error) => return Err(error),
        };
        let (sealing, max) = (Sealing::with_key(self.key.clone()), self.max_payload);
        let open = move || self.clone().open().map_err(Into::into).boxed();
        Ok(LateOutbox::new(sealing, max, opened, open))
    }
}
