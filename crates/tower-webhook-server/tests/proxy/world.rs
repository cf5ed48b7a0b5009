use std::net::SocketAddr;

use axum::{Router, body::Bytes, routing::post};
use http::{HeaderMap, StatusCode};
use reqwest::{Method, RequestBuilder, redirect::Policy};
use tokio::{net::TcpListener, sync::mpsc};
use tower_webhook::Verifier;

use crate::process::{Process, within};

pub(crate) const SECRET: &str = "a-value-of-your-choice";

/// A caller, the proxy, a service behind it, and a receiver of webhooks.
pub(crate) struct World {
    pub(crate) proxy: Process,
    pub(crate) address: SocketAddr,
    /// Where the page for operators is, where there is one.
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) endpoint: String,
    webhooks: mpsc::UnboundedReceiver<Webhook>,
    client: reqwest::Client,
}

/// A webhook that has come, and is genuine.
pub(crate) struct Webhook {
    pub(crate) id: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl World {
    pub(crate) async fn of(service: Router, args: &[&str]) -> Self {
        Self::before(serve(service).await, args).await
    }

    pub(crate) async fn before(upstream: SocketAddr, args: &[&str]) -> Self {
        Self::at(&format!("http://{upstream}"), args, &[]).await
    }

    pub(crate) async fn at(upstream: &str, args: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut all = vec!["--listen", "127.0.0.1:0", "--upstream", upstream];
        all.extend(args);
        let debug = [("RUST_LOG", "info,tower_webhook=debug")];
        let mut proxy = crate::proxy(&all, &[&debug, environment].concat());
        let line = proxy.stdout.line_with("listening on http://").await;
        let address = line.rsplit('/').next().unwrap().parse().unwrap();
        let admin = match args.contains(&"--admin") {
            true => {
                let line = proxy.stdout.line_with("admin on http://").await;
                Some(line.rsplit('/').next().unwrap().parse().unwrap())
            }
            false => None,
        };
        let (endpoint, webhooks) = receiver().await;
        let client = reqwest::Client::builder().no_proxy();
        Self {
            proxy,
            address,
            admin,
            endpoint,
            webhooks,
            client: client.redirect(Policy::none()).build().unwrap(),
        }
    }

    /// A call that wants no webhook.
    pub(crate) fn plain(&self, method: Method, to: SocketAddr, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{to}{path}"))
    }

    /// A call through the proxy that wants one.
    pub(crate) fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.plain(method, self.address, path)
            .query(&[("webhookEndpoint", &self.endpoint)])
            .header("x-webhook-secret", SECRET)
    }

    pub(crate) async fn webhook(&mut self) -> Webhook {
        within(self.webhooks.recv()).await.unwrap()
    }
}

pub(crate) async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, app).await });
    address
}

async fn receiver() -> (String, mpsc::UnboundedReceiver<Webhook>) {
    let (received, webhooks) = mpsc::unbounded_channel();
    let hook = |headers: HeaderMap, body: Bytes| async move {
        if Verifier::new(SECRET).verify(&headers, &body).is_err() {
            return StatusCode::UNAUTHORIZED;
        }
        let status = headers["x-webhook-response-status"].to_str().unwrap();
        let webhook = Webhook {
            id: headers["x-request-id"].to_str().unwrap().to_owned(),
            status: status.parse().unwrap(),
            headers,
            body,
        };
        let _ = received.send(webhook);
        StatusCode::NO_CONTENT
    };
    let address = serve(Router::new().route("/hook", post(hook))).await;
    (format!("http://{address}/hook"), webhooks)
}
