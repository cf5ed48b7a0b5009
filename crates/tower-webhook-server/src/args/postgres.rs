//! An outbox in PostgreSQL, as the options describe it.

use std::{fmt, fs, path::Path};

use futures::{FutureExt as _, TryFutureExt as _};
use tower_webhook::outbox::{Sealing, SealingKey};
use tower_webhook_postgres::{
    PostgresOutbox, PostgresOutboxBuilder, PostgresOutboxError, PostgresOutboxErrorKind as Kind,
};

use super::{
    History,
    late::LateOutbox,
    outbox_url::{ALL, ALWAYS},
};

/// The largest payload that goes there.
pub(super) const MAX_PAYLOAD: usize = 256 << 20;

#[derive(Clone)]
pub(super) struct Postgres {
    url: String,
    schema: String,
    key: SealingKey,
    authorities: Option<Vec<u8>>,
    history: History,
    max_leased_per_host: Option<usize>,
}

impl Postgres {
    pub(super) fn new(url: &str, schema: &str, key: SealingKey, history: History) -> Self {
        Self {
            url: url.to_owned(),
            schema: schema.to_owned(),
            key,
            authorities: None,
            history,
            max_leased_per_host: None,
        }
    }

    pub(super) fn leasing(mut self, max_per_host: Option<usize>) -> Self {
        self.max_leased_per_host = max_per_host;
        self
    }

    pub(super) fn trusting(mut self, file: Option<&Path>, option: &str) -> Result<Self, String> {
        if let Some(file) = file {
            let complain =
                |error: &dyn fmt::Display| format!("{option} {}: {error}", file.display());
            let pem = fs::read(file).map_err(|error| complain(&error))?;
            self.authorities = Some(pem);
            drop(self.builder().map_err(|error| complain(&error))?);
        }
        Ok(self)
    }

    fn builder(&self) -> Result<PostgresOutboxBuilder, PostgresOutboxError> {
        let mut builder = PostgresOutbox::builder(&self.url)
            .with_key(self.key.clone())
            .with_schema(&self.schema);
        if let Some(pem) = &self.authorities {
            builder = builder.with_root_certificates(pem)?;
        }
        if let Some(number) = self.max_leased_per_host {
            builder = builder.with_max_leased_per_host(number);
        }
        Ok(match self.history {
            History::None => builder.with_max_history(0),
            History::Records => builder,
            History::Payloads => builder.with_history_payloads(),
            History::AsItIs => builder
                .without_migrations()
                .with_max_history(ALL)
                .with_max_history_bytes(ALL as u64)
                .with_history_kept(ALWAYS)
                .with_max_dead_letters(ALL)
                .with_max_dead_letter_bytes(ALL as u64)
                .with_dead_letters_kept(ALWAYS),
        })
    }

    pub(super) async fn open(self) -> Result<PostgresOutbox, PostgresOutboxError> {
        self.builder()?.open().await
    }

    /// Opened later, where the server is away. What is wrong with the settings is an error at once.
    pub(super) async fn open_now_or_later(
        self,
    ) -> Result<LateOutbox<PostgresOutbox>, PostgresOutboxError> {
        let opened = match self.clone().open().await {
            Ok(opened) => Some(opened),
            Err(error)
                if matches!(
                    error.kind(),
                    Kind::Unavailable | Kind::TimedOut | Kind::ReadOnly
                ) =>
            {
                tracing::warn!(%error, "webhooks wait until they can go on");
                None
            }
            Err(error) => return Err(error),
        };
        let sealing = Sealing::with_key(self.key.clone());
        let open = move || self.clone().open().map_err(Into::into).boxed();
        Ok(LateOutbox::new(sealing, MAX_PAYLOAD, opened, open))
    }
}
