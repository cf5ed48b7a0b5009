use std::{convert::Infallible, error::Error, net::IpAddr, time::Duration};

use hyper::{
    Method, Request, Response, StatusCode, Version,
    body::{Body as _, Incoming},
    header::{CONTENT_LENGTH, HeaderValue},
    http::{request::Parts, uri::Authority},
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::{
    answer::{Body, own, settle_length},
    call,
    connection::{BoxError, Seen},
    headers,
    interim::Turn,
    replay::Replay,
    service::Service,
};

/// Sends calls on to the service behind. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Proxy {
    service: Service,
    answer_within: Option<Duration>,
}

/// How often a request is sent that the service has not seen.
const TRIES: usize = 3;

impl Proxy {
    /// Answers begin in this time, unless it is `None`.
    pub(crate) fn new(service: Service, answer_within: Option<Duration>) -> Self {
        Self {
            service,
            answer_within,
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
        let (version, head) = (request.version(), request.method() == Method::HEAD);
        let protocol = headers::upgrade(request.headers());
        let caller = protocol.is_some().then(|| hyper::upgrade::on(&mut request));
        let turn = request.extensions_mut().remove::<Turn>();
        let host = match call::authority(&request) {
            Ok(host) => host,
            Err(refusal) => return Ok(own(refusal.status, refusal.text)),
        };
        self.readdress(&mut request, host, protocol, peer);
        let (parts, body) = request.into_parts();
        let body = Replay::new(body);
        let asked = self.ask(&parts, &body, turn.as_ref());
        let asked = match self.answer_within {
            None => asked.await,
            Some(within) => match timeout(within, asked).await {
                Ok(asked) => asked,
                Err(_) => {
                    tracing::warn!(?within, "no answer in time");
                    let late = "the service gave no answer in time\n";
                    return Ok(own(StatusCode::GATEWAY_TIMEOUT, late));
                }
            },
        };
        let answered = asked.and_then(|response| answer(response, version, head, caller));
        Ok(answered.unwrap_or_else(|error| {
            tracing::warn!(error = &*error as &dyn Error, "no answer");
            own(StatusCode::BAD_GATEWAY, "the service gave no answer\n")
        }))
    }

    /// Makes the caller's request the proxy's own.
    fn readdress(
        &self,
        request: &mut Request<Incoming>,
        host: Option<Authority>,
        protocol: Option<HeaderValue>,
        peer: IpAddr,
    ) {
        let http2 = self.service.speaks_http2();
        let host = host.unwrap_or_else(|| self.service.upstream().authority().clone());
        let crumbs = request.version() == Version::HTTP_2;
        let body = request.body();
        let chunked = !body.is_end_stream() && body.size_hint().exact().is_none();
        let headers = request.headers_mut();
        let trailers = headers::takes_trailers(headers);
        headers::strip_hop_by_hop(headers);
        headers::add_forwarded(headers, peer);
        if http2 {
            headers::remove_host(headers);
        } else {
            headers::set_host(headers, &host);
            if chunked {
                headers::set_chunked(headers);
            }
            if crumbs {
                headers::join_cookies(headers);
            }
            if let Some(protocol) = protocol {
                headers::set_upgrade(headers, protocol);
            }
        }
        if trailers {
            headers::set_takes_trailers(headers, http2);
        }
        *request.version_mut() = match http2 {
            true => Version::HTTP_2,
            false => Version::HTTP_11,
        };
        let target = self.service.upstream().target(request.uri(), host, http2);
        *request.uri_mut() = target;
    }

    async fn ask(
        &self,
        head: &Parts,
        body: &Replay,
        turn: Option<&Turn>,
    ) -> Result<Response<Incoming>, BoxError> {
        let mut failed = None;
        for tried in 1.. {
            let connection = self.service.connection(failed).await?;
            failed = Some(connection.id);
            let sending = body.send().ok_or("too much was sent to send it again")?;
            let mut request = Request::from_parts(head.clone(), sending);
            if let Some(turn) = turn.cloned() {
                hyper::ext::on_informational(&mut request, move |said| {
                    turn.say(said.status(), said.headers());
                });
            }
            let no_answer = match self.service.send(connection, request).await {
                Ok(response) => {
                    body.forget();
                    return Ok(response);
                }
                Err(failed) => failed,
            };
            let again = match no_answer.seen {
                Seen::No => true,
                Seen::HardlyAny => head.method.is_idempotent() || body.is_untouched(),
                Seen::Perhaps => false,
            };
            if !again || tried == TRIES {
                return Err(no_answer.error);
            }
            tracing::debug!(error = &*no_answer.error as &dyn Error, "sent again");
        }
        unreachable!("it ends with an answer or an error")
    }
}

/// Makes the service's answer the proxy's own.
fn answer(
    mut response: Response<Incoming>,
    version: Version,
    head: bool,
    caller: Option<OnUpgrade>,
) -> Result<Response<Body>, BoxError> {
    let status = response.status();
    let protocol = headers::upgrade(response.headers());
    settle_length(status, response.headers_mut())?;
    headers::strip_hop_by_hop(response.headers_mut());
    *response.version_mut() = Version::HTTP_11;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        let (Some(caller), Some(protocol)) = (caller, protocol) else {
            return Err("the service upgrades what nobody asked for".into());
        };
        headers::set_upgrade(response.headers_mut(), protocol);
        tokio::spawn(tunnel(caller, hyper::upgrade::on(&mut response)));
    }
    // Without a body, hyper takes this length for a mistake.
    let length_alone = status == StatusCode::NOT_MODIFIED
        && !head
        && version <= Version::HTTP_11
        && response.headers().contains_key(CONTENT_LENGTH);
    Ok(response.map(|body| match length_alone {
        true => Body::Bodiless,
        false => Body::Service(body),
    }))
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
