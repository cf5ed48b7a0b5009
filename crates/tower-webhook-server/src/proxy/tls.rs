//! How connections to the service are made, with TLS where its URL says `https`.

use std::{error::Error, path::Path, sync::Arc, time::Duration};

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::upstream::Upstream;

pub(super) type Connector = HttpsConnector<HttpConnector>;

pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connector that trusts what is in `ca_file`, or else what the system trusts.
pub(super) fn connector(
    upstream: &Upstream,
    http2: bool,
    ca_file: Option<&Path>,
) -> Result<Connector, Box<dyn Error>> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.enforce_http(false);
    let roots = match (upstream.is_https(), ca_file) {
        (false, None) => RootCertStore::empty(),
        (false, Some(_)) => {
            return Err("--upstream-ca-file goes with an --upstream of https".into());
        }
        (true, None) => of_the_system()?,
        (true, Some(file)) => of_file(file)
            .map_err(|error| format!("--upstream-ca-file {}: {error}", file.display()))?,
    };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let builder = HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_or_http();
    Ok(match http2 {
        true => builder.enable_http2().wrap_connector(connector),
        false => builder.enable_http1().wrap_connector(connector),
    })
}

fn of_the_system() -> Result<RootCertStore, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    match roots.is_empty() {
        true => {
            Err("the system trusts no certificate authority: --upstream-ca-file names one".into())
        }
        false => Ok(roots),
    }
}

fn of_file(file: &Path) -> Result<RootCertStore, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file)? {
        roots.add(certificate?)?;
    }
    match roots.is_empty() {
        true => Err("has no certificate".into()),
        false => Ok(roots),
    }
}
