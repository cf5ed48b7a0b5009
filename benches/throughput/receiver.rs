//! The receiver: hyper in a process of its own. It reads every delivery and answers 200.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, copy, sink},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::endpoints::host;
use crate::support::child::{Child, end_with_parent, say};

pub(crate) const ROLE: &str = "receiver";

/// The process, and its ports.
pub(crate) struct Receiver {
    _process: Child,
    pub(crate) http: u16,
    pub(crate) https: u16,
    /// Accepts, and never answers.
    pub(crate) stalled: u16,
    /// The authority that its certificate is from, in PEM.
    pub(crate) authority: String,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let mut process = Child::start(ROLE);
        let [http, https, stalled] = process.numbers();
        let mut authority = String::new();
        while !authority.contains("-----END") {
            authority += &process.line();
            authority.push('\n');
        }
        Self {
            _process: process,
            http,
            https,
            stalled,
            authority,
        }
    }
}

/// The child's part.
pub(crate) fn serve() {
    end_with_parent();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let [http, https, stalled] = [listener().await, listener().await, listener().await];
        let ports = [&http, &https, &stalled].map(port);
        say(&ports.join(" "));
        let (tls, authority) = certified();
        say(authority.trim_end());
        let serving = serve_each(http, |stream| async { answer(stream).await });
        let stalling = serve_each(stalled, |mut stream| async move {
            // An error is as good an end as any.
            let _ = copy(&mut stream, &mut sink()).await;
        });
        let over_tls = serve_each(https, move |stream| {
            let accepting = tls.accept(stream);
            async {
                if let Ok(stream) = accepting.await {
                    answer(stream).await;
                }
            }
        });
        tokio::join!(serving, stalling, over_tls);
    });
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a port")
}

fn port(listener: &TcpListener) -> String {
    let address = listener.local_addr().expect("it is bound");
    address.port().to_string()
}

async fn serve_each<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let (stream, _) = listener.accept().await.expect("there are files enough");
        tokio::spawn(serve(stream));
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    let ok = service_fn(|request: Request<Incoming>| async {
        let mut body = request.into_body();
        while let Some(frame) = body.frame().await {
            frame?;
        }
        Ok::<_, hyper::Error>(Response::new(Empty::<Bytes>::new()))
    });
    // The sender may leave whenever it likes.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), ok)
        .await;
}

/// A certificate for the first receiver's name, and the authority that it is from.
fn certified() -> (TlsAcceptor, String) {
    let certified = || -> Result<_, rcgen::Error> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let leaf = CertificateParams::new([host(0)])?.signed_by(&key, &authority)?;
        Ok((leaf, key, authority.pem()))
    };
    let (leaf, key, authority) = certified().expect("names and keys that can be certified");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .expect("the key is the certificate's");
    (TlsAcceptor::from(Arc::new(config)), authority)
}
