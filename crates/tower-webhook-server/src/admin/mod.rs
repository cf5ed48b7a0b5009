//! `--admin`: the console, metrics, and whether all is well, on an address of its own.

mod access;
mod metrics;
mod ready;

use std::{convert::Infallible, error::Error, io::Write as _, net::SocketAddr, path::PathBuf};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Incoming},
    header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE},
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::net::TcpListener;
use tower::{ServiceExt as _, service_fn};
use tower_webhook::{BoxError, Dispatcher, dispatch::DispatcherBuilder};
use tower_webhook_console::{Access, Console, ConsoleEvents, console};

use self::{
    access::{Gate, Verdict},
    metrics::Exporter,
    ready::Readiness,
};
use crate::connections::{self, FirstRequest, accept};

/// A page for operators, metrics and health for whoever watches.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Admin")]
pub(crate) struct AdminArgs {
    /// Serve a page that shows deliveries here, /metrics for Prometheus, /healthz and /readyz; port 0 takes
    /// a free one
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,

    /// The file with the token that opens the page and /metrics, as the password of a browser's dialog or as
    /// `Authorization: Bearer`. Needed on other addresses than loopback
    #[arg(long, value_name = "FILE", requires = "admin")]
    admin_token_file: Option<PathBuf>,

    /// Let those who may open the page deliver again and give up; otherwise it only shows
    #[arg(long, requires = "admin")]
    admin_actions: bool,
}

/// The page that is to be served, once there is a dispatcher.
pub(crate) struct Admin {
    listener: TcpListener,
    gate: Gate,
    actions: bool,
    events: ConsoleEvents,
    exporter: Exporter,
}

/// What answers on that address.
#[derive(Clone)]
struct Pages {
    gate: Gate,
    console: Console,
    exporter: Exporter,
    dispatcher: Dispatcher,
    ready: Readiness,
}

impl AdminArgs {
    pub(crate) async fn bind(&self) -> Result<Option<Admin>, Box<dyn Error>> {
        let Some(address) = self.admin else {
            return Ok(None);
        };
        let gate = Gate::new(self.admin_token_file.as_deref())?;
        if !address.ip().is_loopback() && !gate.has_token() {
            let text = "--admin on another address than loopback needs --admin-token-file";
            return Err(text.into());
        }
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| format!("cannot listen on {address}: {error}"))?;
        Ok(Some(Admin {
            listener,
            gate,
            actions: self.admin_actions,
            events: ConsoleEvents::new(),
            exporter: Exporter::install()?,
        }))
    }
}

impl Admin {
    /// The builder of a dispatcher that the page hears of, and that records metrics.
    pub(crate) fn watching(&self, builder: DispatcherBuilder) -> DispatcherBuilder {
        builder.on_event(self.events.subscriber()).with_metrics()
    }

    /// Serves for as long as the process runs.
    /// `can_be_tried`: whether it can be seen that the outbox can be written.
    pub(crate) fn serve(self, dispatcher: &Dispatcher, can_be_tried: bool) -> Readiness {
        if let Ok(address) = self.listener.local_addr() {
            // On standard output, for scripts. Nobody may be reading.
            let _ = writeln!(std::io::stdout(), "admin on http://{address}");
        }
        let console = console(dispatcher, Access::left_to_others()).with_events(&self.events);
        let ready = Readiness::new(dispatcher.clone(), can_be_tried);
        let pages = Pages {
            gate: self.gate,
            console: match self.actions {
                true => console.with_actions(),
                false => console,
            },
            exporter: self.exporter.clone(),
            dispatcher: dispatcher.clone(),
            ready: ready.clone(),
        };
        tokio::spawn(self.exporter.keep_up());
        tokio::spawn(serve(self.listener, pages));
        ready
    }
}

async fn serve(listener: TcpListener, pages: Pages) {
    let server = connections::server();
    loop {
        let (socket, peer) = accept(&listener).await;
        let pages = pages.clone();
        let service = service_fn(move |request| pages.clone().answer(request));
        let first = FirstRequest::default();
        let service = TowerToHyperService::new(first.noted_by(service));
        let connection = server
            .serve_connection(TokioIo::new(socket), service)
            .into_owned();
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(error, %peer, "a connection to the admin address broke off");
                },
                () = first.is_missing() => tracing::debug!(%peer, "a connection brought no request"),
            }
        });
    }
}

impl Pages {
    async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<impl Body<Data = Bytes, Error = BoxError>>, Infallible> {
        let is_head = request.method() == Method::HEAD;
        let is_read = is_head || request.method() == Method::GET;
        let is_ready = match request.uri().path() {
            "/healthz" => Some(true),
            "/readyz" => Some(self.ready.is_so().await),
            _ => None,
        };
        let own = match (is_ready, self.gate.judge(&request)) {
            (Some(_), _) if !is_read => only_read(),
            (Some(true), _) => text(StatusCode::OK, "ok\n"),
            (Some(false), _) => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            (None, Verdict::Open) if request.uri().path() == "/metrics" => match is_read {
                true => {
                    let page = self.exporter.page(&self.dispatcher).await;
                    typed(StatusCode::OK, metrics::CONTENT_TYPE, page)
                }
                false => only_read(),
            },
            (None, Verdict::Open) => {
                let answer = self.console.oneshot(request).await?;
                return Ok(answer.map(Either::Left));
            }
            (None, Verdict::NoToken) => {
                let mut answer = text(StatusCode::UNAUTHORIZED, "the token is needed\n");
                let basic = HeaderValue::from_static("Basic realm=\"tower-webhook\"");
                answer.headers_mut().insert(WWW_AUTHENTICATE, basic);
                answer
            }
            (None, Verdict::OtherHost) => text(
                StatusCode::MISDIRECTED_REQUEST,
                "without a token, the host must be an address or localhost\n",
            ),
        };
        let own = match is_head {
            true => without_body(own),
            false => own,
        };
        Ok(own.map(Either::Right))
    }
}

fn only_read() -> Response<Full<Bytes>> {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n");
    let methods = HeaderValue::from_static("GET, HEAD");
    answer.headers_mut().insert(ALLOW, methods);
    answer
}

/// As a `HEAD` gets it. Over HTTP/2 nobody else takes the body away.
fn without_body(answer: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let (mut head, body) = answer.into_parts();
    if let Some(len) = body.size_hint().exact() {
        head.headers.insert(CONTENT_LENGTH, len.into());
    }
    Response::from_parts(head, Full::default())
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", text)
}

fn typed(
    status: StatusCode,
    media_type: &'static str,
    text: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let media_type = HeaderValue::from_static(media_type);
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connections::tests::ends_what_is_silent;

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_is_ended() {
        let dispatcher = Dispatcher::new();
        let pages = Pages {
            gate: Gate::new(None).unwrap(),
            console: console(&dispatcher, Access::left_to_others()),
            exporter: Exporter::idle(),
            dispatcher: dispatcher.clone(),
            ready: Readiness::new(dispatcher, true),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, pages));
        ends_what_is_silent(address).await;
    }
}
