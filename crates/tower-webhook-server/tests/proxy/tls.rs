//! A service behind TLS.

use std::{fs, net::SocketAddr, sync::Arc};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use reqwest::{Method, StatusCode};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{raw::echo, world::World};

struct Scene {
    folder: TempDir,
    url: String,
}

impl Scene {
    /// A service whose certificate is for this name, and that offers these protocols.
    async fn new(name: &str, protocols: &[&str]) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        let address = serve(echo(), TlsAcceptor::from(Arc::new(config))).await;

        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        let url = format!("https://localhost:{}", address.port());
        Self { folder, url }
    }

    async fn world(&self, more: &[&str]) -> World {
        let file = self.folder.path().join("ca.pem");
        let args = ["--insecure-private-endpoints", "--upstream-ca-file"];
        let args = [&args[..], &[file.to_str().unwrap()], more].concat();
        World::at(&self.url, &args, &[]).await
    }
}

async fn serve(app: Router, tls: TlsAcceptor) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let (tls, app) = (tls.clone(), app.clone());
            tokio::spawn(async move {
                let Ok(socket) = tls.accept(socket).await else {
                    return;
                };
                let service = TowerToHyperService::new(app);
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_service_behind_tls_is_reached() {
    for (protocols, more) in [
        (&[][..], &[][..]),
        (&["http/1.1"], &[]),
        (&["h2", "http/1.1"], &["--upstream-http2"]),
    ] {
        let scene = Scene::new("localhost", protocols).await;
        let mut world = scene.world(more).await;
        for body in ["one", "another"] {
            let called = world.call(Method::POST, "/run").body(body).send().await;
            let called = called.unwrap();
            assert_eq!(called.status(), StatusCode::OK, "{protocols:?}");
            assert_eq!(called.text().await.unwrap(), body);
            assert_eq!(world.webhook().await.body, body);
        }
    }
}

#[tokio::test]
async fn a_service_that_cannot_be_trusted_is_not_asked() {
    let scene = Scene::new("another.example", &[]).await;
    let mut world = scene.world(&[]).await;
    let called = world.call(Method::GET, "/").send().await.unwrap();
    assert_eq!(called.status(), StatusCode::BAD_GATEWAY);
    // What the caller gets, the endpoint gets.
    assert_eq!(world.webhook().await.status, 502);
    world.proxy.stderr.line_with("certificate").await;

    // Nor one whose authority nobody has named.
    let scene = Scene::new("localhost", &[]).await;
    let file = scene.folder.path().join("ca.pem");
    let system = [("SSL_CERT_FILE", file.to_str().unwrap())];
    let world = World::at(&scene.url, &[], &system).await;
    let called = world.plain(Method::GET, world.address, "/").send().await;
    assert_eq!(called.unwrap().status(), StatusCode::OK);
    let other = Scene::new("localhost", &[]).await;
    let world = World::at(&other.url, &[], &system).await;
    let called = world.plain(Method::GET, world.address, "/").send().await;
    assert_eq!(called.unwrap().status(), StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn http2_that_tls_does_not_offer_is_told() {
    let scene = Scene::new("localhost", &["http/1.1"]).await;
    let mut world = scene.world(&["--upstream-http2"]).await;
    let called = world.call(Method::GET, "/").send().await.unwrap();
    assert_eq!(called.status(), StatusCode::BAD_GATEWAY);
    world.proxy.stderr.line_with("no answer").await;
}
