//! A server that nobody should trust.

use std::{error::Error, future::Future, sync::Arc, time::Duration};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::{net::TcpListener, time::timeout};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

const PATIENCE: Duration = Duration::from_secs(10);

/// Shows whoever connects a certificate for another name, which nobody has signed but itself.
pub(crate) fn show_a_wrong_one(
    listener: TcpListener,
) -> Result<impl Future<Output = ()> + Send, Box<dyn Error>> {
    let acceptor = acceptor()?;
    Ok(async move {
        loop {
            // An error is one connection's own, or passes.
            let Ok((socket, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let handshake = acceptor.accept(socket);
            // Whoever takes the certificate gets nothing.
            tokio::spawn(async move { timeout(PATIENCE, handshake).await.map(drop) });
        }
    })
}

fn acceptor() -> Result<TlsAcceptor, Box<dyn Error>> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["another.example.com".to_owned()])?;
    let key = PrivateKeyDer::try_from(signing_key.serialize_der())?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
