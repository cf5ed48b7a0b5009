use std::{convert::Infallible, net::IpAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::{
    Method, Request, Response, StatusCode, Version,
    body::Incoming,
    header::{CONTENT_TYPE, HOST, HeaderValue},
    upgrade::OnUpgrade,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};

use crate::{headers, upstream::Upstream};

/// Sends calls on to the service behind. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Proxy {
    client: Client<HttpConnector, Incoming>,
    upstream: Upstream,
    http2: bool,
}

/// The service's own body as it comes, or a sentence of the proxy's.
pub(crate) type Body = Either<Incoming, Full<Bytes>>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Shorter than services keep theirs: one that is just being closed would lose a call.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

impl Proxy {
    pub(crate) fn new(upstream: Upstream, http2: bool) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .http1_preserve_header_case(true)
            .http2_only(http2)
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
        Self {
            client,
            upstream,
            http2,
        }
    }

    /// Never an error: what goes wrong is a response, too.
    pub(crate) async fn forward(
        self,
        mut request: Request<Incoming>,
        peer: IpAddr,
    ) -> Result<Response<Body>, Infallible> {
        if request.method() == Method::CONNECT {
            return Ok(own(
                StatusCode::METHOD_NOT_ALLOWED,
                "this is no forward proxy\n",
            ));
        }
        let protocol = headers::upgrade(request.headers());
        let caller = protocol.is_some().then(|| hyper::upgrade::on(&mut request));
        self.readdress(&mut request, protocol, peer);
        let mut response = match self.client.request(request).await {
            Ok(response) => response,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "no answer");
                return Ok(own(StatusCode::BAD_GATEWAY, "the service gave no answer\n"));
            }
        };

        let protocol = headers::upgrade(response.headers());
        headers::strip_hop_by_hop(response.headers_mut());
        *response.version_mut() = Version::HTTP_11;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let (Some(caller), Some(protocol)) = (caller, protocol) else {
                tracing::warn!("the service upgrades what nobody asked for");
                return Ok(own(StatusCode::BAD_GATEWAY, "the service gave no answer\n"));
            };
            headers::set_upgrade(response.headers_mut(), protocol);
            tokio::spawn(tunnel(caller, hyper::upgrade::on(&mut response)));
        }
        Ok(response.map(Either::Left))
    }

    /// Makes the caller's request the proxy's own.
    fn readdress(
        &self,
        request: &mut Request<Incoming>,
        protocol: Option<HeaderValue>,
        peer: IpAddr,
    ) {
        let authority = request.uri().authority();
        let host = match authority.map(|host| HeaderValue::try_from(host.as_str())) {
            Some(Ok(host)) => Some(host),
            _ => request.headers().get(HOST).cloned(),
        };
        *request.uri_mut() = self.upstream.uri(request.uri());
        *request.version_mut() = match self.http2 {
            true => Version::HTTP_2,
            false => Version::HTTP_11,
        };
        let headers = request.headers_mut();
        let trailers = headers::takes_trailers(headers);
        headers::strip_hop_by_hop(headers);
        headers::set_host(headers, host, self.http2);
        headers::add_forwarded(headers, peer);
        match protocol {
            Some(protocol) if !self.http2 => headers::set_upgrade(headers, protocol),
            _ => {}
        }
        if trailers {
            headers::set_takes_trailers(headers, self.http2);
        }
    }
}

/// Both ways until both sides have ended.
async fn tunnel(caller: OnUpgrade, service: OnUpgrade) {
    let joined = tokio::try_join!(caller, service);
    let (caller, service) = match joined {
        Ok(sides) => sides,
        Err(error) => return tracing::debug!(%error, "no upgrade"),
    };
    let (mut caller, mut service) = (TokioIo::new(caller), TokioIo::new(service));
    if let Err(error) = tokio::io::copy_bidirectional(&mut caller, &mut service).await {
        tracing::debug!(%error, "a tunnel broke off");
    }
}

fn own(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Either::Right(Full::from(text)));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}
