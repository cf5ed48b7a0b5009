//! The layer among others: it fits wherever a layer fits, and changes no type that it need not.

use std::{convert::Infallible, future::Ready, io, pin::Pin, time::Duration};

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use futures::poll;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_http::{
    compression::CompressionLayer, cors::CorsLayer, timeout::TimeoutLayer, trace::TraceLayer,
};
use tower_test::mock;
use tower_webhook::{
    Dispatcher, EventKind, WebhookLayer,
    dispatch::DispatcherBuilder,
    layer::{ResponseBody, ResponseFuture, Webhook},
};

use crate::support::{
    caller::{Answer, BOTH, Caller},
    rig::{self, Rig},
    server::serve,
};

mod support;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Answered = Result<Response<Full<Bytes>>, Infallible>;

/// Neither `Sync` nor `Clone` is asked of what is wrapped.
#[test]
fn auto_traits() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    fn sent<T: Send + 'static>() {}
    fn unpin<T: Unpin>() {}
    shared::<WebhookLayer>();
    shared::<Dispatcher>();
    shared::<Webhook<Router>>();
    sent::<DispatcherBuilder>();
    sent::<Webhook<Box<dyn FnMut() + Send>>>();
    sent::<ResponseFuture<Ready<Answered>, Full<Bytes>>>();
    sent::<ResponseFuture<BoxFuture<Answered>, Full<Bytes>>>();
    sent::<ResponseBody<Body>>();
    unpin::<ResponseBody<Full<Bytes>>>();
    unpin::<ResponseFuture<Ready<Answered>, Full<Bytes>>>();
}

#[test]
fn the_error_is_the_services_own() {
    fn error_of<S, E>(_: &S)
    where
        S: Service<Request<()>, Error = E>,
    {
    }
    let failing = |_| async { Err::<Response<Full<Bytes>>, _>(io::Error::other("own")) };
    error_of::<_, io::Error>(&WebhookLayer::new().layer(service_fn(failing)));
}

#[tokio::test]
async fn an_error_of_the_service_passes_and_ends_its_webhook() {
    let mut rig = Rig::new().await;
    let failing =
        |_: Request<()>| async { Err::<Response<Full<Bytes>>, _>(io::Error::other("own")) };
    let request = Request::get(rig.asking("/")).body(()).unwrap();
    let error = rig
        .layer()
        .layer(service_fn(failing))
        .oneshot(request)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "own");
    rig.expect_failed(tower_webhook::event::FailReason::ServiceFailed)
        .await;
}

#[tokio::test]
async fn a_body_can_be_made_of_nothing() {
    let body = ResponseBody::<Full<Bytes>>::default();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "");
}

/// A clone of a service that is ready is not ready itself: this mock panics then.
#[tokio::test]
async fn the_service_that_was_ready_is_the_one_that_is_called() {
    let rig = Rig::new().await;
    let (service, mut handle) = mock::pair::<Request<()>, Response<Full<Bytes>>>();
    let mut service = rig.layer().layer(service);
    handle.allow(0);
    assert!(poll!(service.ready()).is_pending());
    handle.allow(1);
    assert!(poll!(service.ready()).is_ready());
    let request = Request::get(rig.asking("/")).body(()).unwrap();
    let mut answer = service.call(request);
    assert!(poll!(&mut answer).is_pending());
    let (_, respond) = handle.next_request().await.unwrap();
    respond.send_response(Response::new(Full::from("done")));
    let body = answer.await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "done");
    assert!(
        poll!(service.ready()).is_pending(),
        "it was ready for one call"
    );
}

#[test]
fn no_runtime_is_needed_to_build_and_none_to_pass_through() {
    let layer = WebhookLayer::new();
    let service = layer.layer(service_fn(async |_: Request<()>| {
        Answered::Ok(Response::default())
    }));
    let request = Request::get("/").body(()).unwrap();
    let response = futures::executor::block_on(service.oneshot(request)).unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[test]
fn a_webhook_without_a_runtime_is_abandoned_and_its_caller_answered() {
    let (builder, mut events) = rig::builder();
    let layer = WebhookLayer::new().with_dispatcher(builder.build());
    let service = layer.layer(service_fn(async |_: Request<()>| {
        Answered::Ok(Response::default())
    }));
    let request = || {
        Request::get("/?webhookEndpoint=http://127.0.0.1/")
            .body(())
            .unwrap()
    };
    let response = futures::executor::block_on(service.clone().oneshot(request())).unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    drop(service.oneshot(request())); // never polled, never called
    drop(
        layer
            .layer(service_fn(|_| std::future::pending::<Answered>()))
            .call(request()),
    );
    let kinds: Vec<_> = events
        .rest()
        .into_iter()
        .map(|event| event.kind().clone())
        .collect();
    let one = [EventKind::Accepted, EventKind::Abandoned];
    assert_eq!(kinds, [one.clone(), one].concat());
}

const TEXT: &str = "a text that is long enough for it to be worth the while to compress it";

fn router() -> Router {
    Router::new().route("/", get(|| async { TEXT }))
}

fn timeout() -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(60))
}

/// Calls from a foreign origin, with all that a browser says, and expects one webhook.
async fn answer_and_webhook(mut rig: Rig, app: Router) -> (Answer, support::receiver::Received) {
    let server = serve(app).await;
    let mut caller = Caller::connect(server.address, BOTH[0]).await;
    let mut request = caller.request(Method::GET, &rig.asking("/"));
    let headers = request.headers_mut();
    headers.insert(header::ACCEPT_ENCODING, "gzip".parse().unwrap());
    headers.insert(header::ORIGIN, "https://a.example".parse().unwrap());
    let answer = caller.call(request).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    assert_eq!(answer.headers[header::CONTENT_ENCODING], "gzip");
    let webhook = rig.receiver.next().await;
    rig.expect_delivered().await;
    (answer, webhook)
}

#[tokio::test]
async fn inside_the_others_the_endpoint_gets_plain_bytes() {
    let rig = Rig::new().await;
    let layers = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(CorsLayer::permissive())
        .layer(timeout())
        .layer(CompressionLayer::new())
        .layer(rig.layer());
    let app = router().layer(layers);
    let (_, webhook) = answer_and_webhook(rig, app).await;
    assert_eq!(webhook.body, TEXT);
    assert!(!webhook.headers.contains_key(header::CONTENT_ENCODING));
}

#[tokio::test]
async fn outside_the_others_the_endpoint_gets_what_the_caller_gets() {
    let rig = Rig::new().await;
    let layers = ServiceBuilder::new()
        .layer(rig.layer())
        .layer(TraceLayer::new_for_http())
        .layer(CorsLayer::permissive())
        .layer(timeout())
        .layer(CompressionLayer::new());
    let app = router().layer(layers);
    let (answer, webhook) = answer_and_webhook(rig, app).await;
    assert_eq!(webhook.body, answer.body);
    assert_eq!(webhook.header("content-encoding"), "gzip");
    assert!(
        !webhook
            .headers
            .contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN)
    );
}

#[tokio::test]
async fn everywhere_in_a_router() {
    let mut rig = Rig::new().await;
    let layer = rig.layer();
    let app = Router::new()
        .route("/handler", get(async || "handler").layer(layer.clone()))
        .route("/route", get(async || "route"))
        .route_layer(layer.clone())
        .nest("/nest", router().layer(layer.clone()))
        .fallback(async || (StatusCode::NOT_FOUND, "fallback"));
    let server = serve(app).await;
    let mut caller = Caller::connect(server.address, BOTH[1]).await;
    for (path, body) in [("/route", "route"), ("/nest", TEXT)] {
        assert_eq!(caller.get(&rig.asking(path)).await.body, body);
        assert_eq!(rig.receiver.next().await.body, body);
    }
    // Twice in the layer: two webhooks with the same id.
    caller.get(&rig.asking("/handler")).await;
    let twice = [rig.receiver.next().await, rig.receiver.next().await];
    assert!(twice.iter().all(|webhook| webhook.body == "handler"));
    caller.get(&rig.asking("/none")).await;
    rig.dispatcher.shutdown(support::BACKSTOP).await;
    assert!(rig.receiver.rest().is_empty());
}

#[tokio::test]
async fn around_a_plain_service() {
    let mut rig = Rig::new().await;
    let plain = service_fn(async |_: Request<hyper::body::Incoming>| {
        Answered::Ok(Response::new(Full::from("plain")))
    });
    let service = ServiceBuilder::new().layer(rig.layer()).service(plain);
    for protocol in BOTH {
        let server = serve(service.clone()).await;
        let mut caller = Caller::connect(server.address, protocol).await;
        assert_eq!(caller.get(&rig.asking("/")).await.body, "plain");
        assert_eq!(rig.receiver.next().await.body, "plain");
    }
    rig.expect_no_more(2).await;
}
