//! gRPC: a server with the layer, a client that names the endpoint in its metadata, and a
//! receiver, in one process.
//!
//! ```sh
//! cargo run --example tonic
//! ```
//!
//! A gRPC client cannot set a query, so the layer is told of a header that can name the endpoint
//! as well. The receiver gets the response's body as it is: messages, each behind five bytes
//! with its length. The status, which gRPC has in the trailers, comes as a header.
//!
//! `render.rs` is made from `render.proto` and committed, so that nobody needs `protoc`.

#[allow(unreachable_pub, reason = "generated")]
mod render;

use std::{error::Error, net::SocketAddr, pin::Pin, time::Duration};

use axum::{Router, body::Bytes, http::HeaderMap, routing::post};
use futures::{Stream, StreamExt, stream};
use http::HeaderName;
use prost::Message;
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, transport::Server};
use tower_webhook::{Dispatcher, EndpointPolicy, Verifier, WebhookLayer};

use crate::render::{
    Line, Picture, Scene,
    renderer_client::RendererClient,
    renderer_server::{Renderer, RendererServer},
};

const SECRET: &str = "a-value-of-your-choice";

struct Lighthouse;

const LINES: [&str; 3] = ["  ^  ", " |o| ", "/___\\"];

#[tonic::async_trait]
impl Renderer for Lighthouse {
    async fn render(&self, scene: Request<Scene>) -> Result<Response<Picture>, Status> {
        if scene.get_ref().name != "lighthouse" {
            return Err(Status::not_found("only the lighthouse can be drawn"));
        }
        let lines = LINES.map(str::to_owned).into();
        Ok(Response::new(Picture { lines }))
    }

    type RenderLinesStream = Pin<Box<dyn Stream<Item = Result<Line, Status>> + Send>>;

    async fn render_lines(
        &self,
        _: Request<Scene>,
    ) -> Result<Response<Self::RenderLinesStream>, Status> {
        let line = |text: &str| {
            Ok(Line {
                text: text.to_owned(),
            })
        };
        Ok(Response::new(stream::iter(LINES).map(line).boxed()))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (endpoint, mut webhooks) = receiver().await?;
    let server = server().await?;
    let mut client = RendererClient::connect(format!("http://{server}")).await?;

    println!("# A unary call\n");
    let picture = client.render(asking("lighthouse", &endpoint)?).await?;
    println!("{}\n", picture.get_ref().lines.join("\n"));
    let body = next(&mut webhooks).await?;
    let again = Picture::decode(message(&body)?)?;
    assert_eq!(
        &again,
        picture.get_ref(),
        "the webhook has the same message"
    );

    println!("# A server-streaming call\n");
    let mut lines = client
        .render_lines(asking("lighthouse", &endpoint)?)
        .await?
        .into_inner();
    while let Some(line) = lines.message().await? {
        println!("{}", line.text);
    }
    let trailers = lines.trailers().await?.ok_or("no trailers")?;
    println!("trailers: {:?}\n", trailers.into_headers());
    next(&mut webhooks).await?;

    println!("# A call that fails\n");
    let status = client.render(asking("nothing", &endpoint)?).await;
    let status = status.expect_err("it is no lighthouse");
    assert_eq!(status.code(), Code::NotFound);
    println!("{status}\n");
    next(&mut webhooks).await?;
    Ok(())
}

/// A call that wants a webhook.
fn asking(scene: &str, endpoint: &str) -> Result<Request<Scene>, Box<dyn Error>> {
    let mut request = Request::new(Scene {
        name: scene.to_owned(),
    });
    let metadata = request.metadata_mut();
    metadata.insert("x-webhook-endpoint", endpoint.parse()?);
    metadata.insert("x-webhook-secret", SECRET.parse()?);
    Ok(request)
}

async fn server() -> std::io::Result<SocketAddr> {
    // This receiver is neither https nor public. On the internet leave both settings out.
    let policy = EndpointPolicy::public()
        .with_insecure_http()
        .with_insecure_private_networks();
    let layer = WebhookLayer::new()
        .with_endpoint_header(HeaderName::from_static("x-webhook-endpoint"))
        .with_dispatcher(Dispatcher::builder().with_endpoint_policy(policy).build());

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = Server::builder()
        .layer(layer)
        .add_service(RendererServer::new(Lighthouse));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    Ok(address)
}

type Webhook = (HeaderMap, Bytes);

/// Webhooks are ordinary HTTP, whatever the call was.
async fn receiver() -> std::io::Result<(String, mpsc::UnboundedReceiver<Webhook>)> {
    let (received, webhooks) = mpsc::unbounded_channel();
    let hook = |headers: HeaderMap, body: Bytes| async move {
        let _ = received.send((headers, body));
    };
    let app = Router::new().route("/hook", post(hook));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}/hook", listener.local_addr()?);
    tokio::spawn(async { axum::serve(listener, app).await });
    Ok((endpoint, webhooks))
}

/// Waits for the next webhook, verifies and prints it.
async fn next(webhooks: &mut mpsc::UnboundedReceiver<Webhook>) -> Result<Bytes, Box<dyn Error>> {
    let next = timeout(Duration::from_secs(10), webhooks.recv());
    let (headers, body) = next.await?.ok_or("no webhook came")?;
    Verifier::new(SECRET).verify(&headers, &body)?;
    println!("a webhook of {} bytes, verified", body.len());
    for name in ["content-type", "grpc-status", "grpc-message"] {
        if let Some(value) = headers.get(name) {
            println!("{name}: {value:?}");
        }
    }
    println!();
    Ok(body)
}

/// The first message of a body: whether it is compressed, its length, its bytes.
fn message(body: &[u8]) -> Result<&[u8], &'static str> {
    let ([0, length @ ..], rest) = body.split_first_chunk::<5>().ok_or("too short")? else {
        return Err("compressed");
    };
    let length = u32::from_be_bytes(*length) as usize;
    rest.get(..length).ok_or("too short")
}
