//! Opening connections: TLS, and a backoff after failures.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::{task::JoinHandle, time::sleep};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{PostgresOutboxError, PostgresOutboxErrorKind as Kind, hosts::Hosts};

/// Opens connections for the pool, with exponential backoff after failed attempts.
pub(crate) struct Connector {
    config: Config,
    tls: MakeRustlsConnect,
    hosts: Hosts,
    pause: Arc<Pause>,
}

/// A connection, closed on drop.
pub(crate) struct Connection {
    pub(crate) client: Client,
    /// Where it goes to.
    pub(crate) address: Config,
    driver: JoinHandle<()>,
}

/// The backoff, shared by all attempts of a pool.
#[derive(Default)]
struct Pause(Mutex<Option<Failed>>);

#[derive(Clone, Copy)]
struct Failed {
    until: Instant,
    pause: Duration,
}

/// A connection attempt. It counts as failed when dropped, which covers attempts that timed out.
struct Attempt(Option<Arc<Pause>>);

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Connector {
    pub(crate) fn new(
        config: Config,
        roots: RootCertStore,
        timeout: Duration,
    ) -> Result<Self, PostgresOutboxError> {
        // Explicit, because the process may have several crypto providers, or no default one.
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_| Kind::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            config,
            tls: MakeRustlsConnect::new(tls),
            hosts: Hosts::new(timeout),
            pause: Arc::default(),
        })
    }

    pub(crate) fn tls(&self) -> &MakeRustlsConnect {
        &self.tls
    }
}

impl Manager for Connector {
    type Type = Connection;
    type Error = tokio_postgres::Error;

    async fn create(&self) -> Result<Connection, tokio_postgres::Error> {
        sleep(self.pause.left()).await;
        let attempt = Attempt(Some(Arc::clone(&self.pause)));
        // Boxed: this future is a large part of every transaction's.
        let connecting = Box::pin(self.hosts.connect(&self.config, &self.tls));
        let (address, (client, connection)) = connecting.await?;
        attempt.succeed();
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                let error = PostgresOutboxError::from(error);
                tracing::debug!(%error, "a connection of the PostgreSQL outbox has ended");
            }
        });
        Ok(Connection {
            client,
            address,
            driver,
        })
    }

    async fn recycle(
        &self,
        connection: &mut Connection,
        _: &Metrics,
    ) -> RecycleResult<tokio_postgres::Error> {
        match connection.client.is_closed() {
            true => Err(RecycleError::message("it is closed")),
            false => Ok(()),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Pause {
    fn left(&self) -> Duration {
        let failed = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failed.map_or(Duration::ZERO, |failed| {
            failed.until.saturating_duration_since(Instant::now())
        })
    }

    fn failed(&self) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = last.map_or(FIRST_PAUSE, |last| (last.pause * 2).min(LONGEST_PAUSE));
        // Jitter, so that processes do not reconnect all at once.
        let until = Instant::now() + pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        *last = Some(Failed { until, pause });
    }

    fn succeeded(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Attempt {
    fn succeed(mut self) {
        if let Some(pause) = self.0.take() {
            pause.succeeded();
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(pause) = self.0.take() {
            pause.failed();
        }
    }
}

/// Mozilla's root certificates.
pub(crate) fn public_roots() -> RootCertStore {
    RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    }
}

/// The root certificates in this PEM text only.
pub(crate) fn roots_from_pem(pem: &[u8]) -> Result<RootCertStore, PostgresOutboxError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| Kind::InvalidRoots)?;
        roots.add(certificate).map_err(|_| Kind::InvalidRoots)?;
    }
    match roots.is_empty() {
        true => Err(Kind::InvalidRoots.into()),
        false => Ok(roots),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second_and_end_with_a_success() {
        let pause = Arc::new(Pause::default());
        let of = |pause: &Pause| pause.0.lock().unwrap().map(|failed| failed.pause);
        let mut seen = Vec::new();
        for _ in 0..7 {
            drop(Attempt(Some(Arc::clone(&pause))));
            seen.push(of(&pause).unwrap().as_millis());
        }
        assert_eq!(seen, [50, 100, 200, 400, 800, 1_000, 1_000]);
        Attempt(Some(Arc::clone(&pause))).succeed();
        assert_eq!(of(&pause), None);
        assert_eq!(pause.left(), Duration::ZERO);
    }

    #[test]
    fn roots_are_certificates() {
        let of = |pem: &str| roots_from_pem(pem.as_bytes()).unwrap_err().kind();
        assert_eq!(of(""), Kind::InvalidRoots);
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(of(broken), Kind::InvalidRoots);
    }
}
