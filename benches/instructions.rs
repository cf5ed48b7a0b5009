//! One path, so many times, for a tool that counts instructions: `.ci/instructions` runs it under
//! callgrind and compares the counts with those in `benches/instructions.txt`.

#[path = "support/exporter.rs"]
mod exporter;

use std::{convert::Infallible, env, hint::black_box};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, service_fn};
use tower_webhook::{
    BoxError, Delivery, Dispatcher, EventKind, Payload, WebhookLayer, dispatch::DispatcherBuilder,
};

const BODY: Bytes = Bytes::from_static(&[b'x'; 1_024]);

fn main() {
    let mut arguments = env::args().skip(1).filter(|argument| argument != "--bench");
    let path = arguments.next().unwrap_or_default();
    let times = arguments.next().and_then(|times| times.parse().ok());
    let times = times.unwrap_or(1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    match &*path {
        "bare" => runtime.block_on(bare(times)),
        "passthrough" => runtime.block_on(calls(
            Dispatcher::builder(),
            "/?prompt=a-cat&steps=20&seed=4711",
            times,
        )),
        "captured" => {
            let discard = service_fn(|_: Delivery| async { Ok::<_, BoxError>(()) });
            let builder = Dispatcher::builder().with_sink(discard);
            runtime.block_on(calls(builder, ASKED, times));
        }
        "delivered" => runtime.block_on(delivered(Dispatcher::builder(), times)),
        "measured" => runtime.block_on(measured(times)),
        _ => println!("usage: instructions bare|passthrough|captured|delivered|measured TIMES"),
    }
}

const ASKED: &str = "/?webhookEndpoint=https://hooks.example.com/in";

/// So many calls without the layer: what is no cost of it.
async fn bare(times: usize) {
    let mut service = service_fn(handle);
    for _ in 0..times {
        call(&mut service, "/?prompt=a-cat&steps=20&seed=4711").await;
    }
}

async fn handle(request: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
    black_box(request);
    Ok(Response::new(Full::new(BODY)))
}

/// So many calls through the layer.
async fn calls(builder: DispatcherBuilder, target: &str, times: usize) {
    let mut service = service(builder.build());
    for _ in 0..times {
        call(&mut service, target).await;
    }
}

/// So many calls, each with its signed attempt, by a client that only says yes.
async fn delivered(builder: DispatcherBuilder, times: usize) {
    let (done, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let dispatcher = builder
        .with_client(service_fn(|request: Request<Payload>| async {
            black_box(request);
            Ok::<_, BoxError>(Response::new(Full::<Bytes>::default()))
        }))
        .on_event(move |event| {
            if matches!(event.kind(), EventKind::Delivered { .. }) {
                let _ = done.send(());
            }
        })
        .build();
    let mut service = service(dispatcher);
    for _ in 0..times {
        call(&mut service, ASKED).await;
        ends.recv().await;
    }
}

/// The same with metrics, for Prometheus. What an exporter does with them every few seconds counts.
async fn measured(times: usize) {
    let exporter = exporter::install();
    delivered(Dispatcher::builder().with_metrics(), times).await;
    exporter.run_upkeep();
}

fn service(
    dispatcher: Dispatcher,
) -> impl Service<
    Request<()>,
    Response = Response<tower_webhook::layer::ResponseBody<Full<Bytes>>>,
    Error = Infallible,
> {
    WebhookLayer::new()
        .with_dispatcher(dispatcher)
        .layer(service_fn(handle))
}

async fn call<S, B>(service: &mut S, target: &str)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body<Data = Bytes>,
{
    let request = Request::get(target)
        .header("x-request-id", "run-1")
        .header("x-webhook-secret", "a-value-of-your-choice")
        .body(())
        .expect("a request");
    let Ok(response) = service.call(request).await;
    let _ = black_box(response.into_body().collect().await);
}
