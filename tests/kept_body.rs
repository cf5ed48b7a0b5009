//! Responses whose bodies keep the service's own type.

use std::convert::Infallible;

use axum::{
    Router,
    body::Body,
    extract::Request,
    response::{Response, sse},
    routing::{get, post},
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_webhook::{FailReason, Kept, ResponseBody, Webhook};

use crate::support::{
    caller::{BOTH, Caller},
    rig::Rig,
    server::serve,
};

mod support;

fn router() -> Router {
    let events = || async {
        let texts = stream::iter(["one", "two"]);
        sse::Sse::new(texts.map(|text| Ok::<_, Infallible>(sse::Event::default().data(text))))
    };
    Router::new()
        .route("/text", get(async || "text"))
        .route("/events", get(events))
        .route("/echo", post(async |body: Bytes| body))
}

/// As a user writes it down.
type App = Webhook<Router, Kept<Body>>;

fn app(rig: &Rig) -> App {
    rig.layer().with_kept_body(Body::new).layer(router())
}

#[tokio::test]
async fn around_an_axum_app_each_answer_is_the_apps_and_is_delivered() {
    let mut rig = Rig::new().await;
    let (plain, layered) = (serve(router()).await, serve(app(&rig)).await);
    let mut asked = 0;
    for protocol in BOTH {
        let mut without = Caller::connect(plain.address, protocol).await;
        let mut with = Caller::connect(layered.address, protocol).await;
        for (method, path) in [
            (Method::GET, "/text"),
            (Method::HEAD, "/text"),
            (Method::GET, "/events"),
            (Method::POST, "/echo"),
            (Method::PUT, "/text"),
            (Method::GET, "/none"),
        ] {
            let expected = without.call(without.request(method.clone(), path)).await;
            let unasked = with.call(with.request(method.clone(), path)).await;
            let request = with.request(method, &rig.asking(path));
            let asking = with.call(request).await;
            for answer in [unasked, asking] {
                assert_eq!(answer.status, expected.status, "{path}");
                assert_eq!(answer.body, expected.body, "{path}");
                let mut headers = answer.headers;
                headers.remove("date");
                let mut before = expected.headers.clone();
                before.remove("date");
                assert_eq!(headers, before, "{path}");
            }
            asked += 1;
            let webhook = rig.receiver.next().await;
            assert_eq!(webhook.body, expected.body, "{path}");
            let status = expected.status.as_str();
            assert_eq!(webhook.header("x-webhook-response-status"), status);
        }
    }
    rig.expect_no_more(asked).await;
}

#[tokio::test]
async fn axums_own_server_takes_it() {
    let mut rig = Rig::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = axum::ServiceExt::<Request>::into_make_service(app(&rig));
    tokio::spawn(async { axum::serve(listener, app).await });
    let mut caller = Caller::connect(address, BOTH[0]).await;
    assert_eq!(caller.get(&rig.asking("/text")).await.body, "text");
    assert_eq!(rig.receiver.next().await.body, "text");
    rig.expect_delivered().await;
}

#[tokio::test]
async fn what_is_refused_is_said_in_the_services_type() {
    let rig = Rig::new().await;
    let request = Request::get("/text?webhookEndpoint=ftp://a.example").body(Body::empty());
    let answer: Response = app(&rig).oneshot(request.unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(!text.is_empty());
}

#[tokio::test]
async fn a_caller_that_leaves_is_called_back() {
    let mut rig = Rig::new().await;
    let (tell, frames) = mpsc::unbounded_channel();
    let frames = UnboundedReceiverStream::new(frames);
    let body = Body::from_stream(frames.map(Ok::<&str, Infallible>));
    let mut body = Some(body);
    let service = service_fn(move |_: Request| {
        let response = Response::new(body.take().unwrap());
        async { Ok::<_, Infallible>(response) }
    });
    let mut service = rig.layer().with_kept_body(Body::new).layer(service);
    let request = Request::get(rig.asking("/")).body(Body::empty()).unwrap();
    let mut body = service.call(request).await.unwrap().into_body();
    tell.send("one, ").unwrap();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "one, ");
    drop(body);
    tell.send("two").unwrap();
    drop(tell);
    assert_eq!(rig.receiver.next().await.body, "one, two");
    rig.expect_delivered().await;
}

/// Nothing is made of a body that nobody watches: this would say so.
fn never(_: ResponseBody<Full<Bytes>>) -> Full<Bytes> {
    unreachable!("the response was to be given as it is")
}

#[tokio::test]
async fn a_response_that_is_not_watched_is_given_as_it_is() {
    let mut rig = Rig::new().await;
    let service = service_fn(async |_: http::Request<()>| {
        Ok::<_, Infallible>(http::Response::new(Full::from("text")))
    });
    let layer = rig.layer().with_forwarded_statuses(|_| false);
    let service = layer.with_kept_body(never).layer(service);
    for target in ["/".to_owned(), rig.asking("/")] {
        let request = http::Request::get(target).body(()).unwrap();
        let answer = service.clone().oneshot(request).await.unwrap();
        let text: Full<Bytes> = answer.into_body();
        assert_eq!(text.collect().await.unwrap().to_bytes(), "text");
    }
    rig.expect_failed(FailReason::StatusNotForwarded).await;
}
