//! Any request is either passed on as it came or refused, and what is accepted can be sent.

#![no_main]

use std::{
    convert::Infallible,
    sync::{Arc, LazyLock, Mutex},
};

use bytes::Bytes;
use http::{HeaderName, Request, Response, request::Parts};
use http_body_util::{BodyExt, Full};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, ServiceExt, service_fn};
use tower_webhook::{Delivery, Dispatcher, EndpointPolicy, RequestId, WebhookLayer};

mod message;

type Sent = Arc<Mutex<Option<Delivery>>>;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build().unwrap());

static LAYER: LazyLock<(WebhookLayer, Sent)> = LazyLock::new(|| {
    let sent = Sent::default();
    let sink = Arc::clone(&sent);
    let dispatcher = Dispatcher::builder()
        .with_sink(service_fn(move |delivery| {
            *sink.lock().unwrap() = Some(delivery);
            async { Ok::<_, Infallible>(()) }
        }))
        .build();
    let layer = WebhookLayer::new()
        .with_dispatcher(dispatcher)
        .with_endpoint_header(HeaderName::from_static("x-webhook-endpoint"));
    (layer, sent)
});

fuzz_target!(|input: &[u8]| {
    let (first, headers, body) = message::read(input);
    let mut words = first.splitn(2, |&byte| byte == b' ');
    let mut request = Request::builder()
        .method(words.next().unwrap_or_default())
        .uri(words.next().unwrap_or_default());
    if let Some(all) = request.headers_mut() {
        *all = headers;
    }
    let Ok(request) = request.body(()) else {
        return;
    };
    let (layer, sent) = &*LAYER;
    sent.lock().unwrap().take();
    let seen = Arc::new(Mutex::new(None));
    let see = Arc::clone(&seen);
    let body = Bytes::copy_from_slice(body);
    let answer = body.clone();
    let service = layer.layer(service_fn(move |request: Request<()>| {
        *see.lock().unwrap() = Some(request.into_parts().0);
        let response = Response::new(Full::new(answer.clone()));
        async { Ok::<_, Infallible>(response) }
    }));
    let (before, ()) = request.into_parts();
    let request = Request::from_parts(before.clone(), ());
    let (head, heard) = RUNTIME.block_on(async {
        let (head, body) = service.oneshot(request).await.unwrap().into_parts();
        (head, body.collect().await.unwrap().to_bytes())
    });
    match seen.lock().unwrap().take() {
        Some(after) => {
            assert_eq!((head.status.as_u16(), heard), (200, body));
            passed_on(&before, &after);
            if let Some(delivery) = sent.lock().unwrap().take() {
                can_be_sent(&after, &delivery);
            }
        }
        None => {
            assert!([400, 508].contains(&head.status.as_u16()));
            assert!(sent.lock().unwrap().is_none());
        }
    }
});

fn passed_on(before: &Parts, after: &Parts) {
    assert_eq!(before.method, after.method);
    assert_eq!(before.uri, after.uri);
    assert_eq!(before.headers, after.headers);
}

fn can_be_sent(request: &Parts, delivery: &Delivery) {
    assert_eq!(request.extensions.get(), Some(delivery.request_id()));
    assert!(RequestId::parse(delivery.request_id().as_str()).is_some());
    let endpoint = delivery.endpoint().to_url_string();
    assert!(EndpointPolicy::public().check(&endpoint).is_ok());
    let secrets = request.headers.get_all("x-webhook-secret");
    assert_eq!(secrets.iter().count(), delivery.secret().iter().count());
    assert!(secrets.iter().all(http::HeaderValue::is_sensitive));
}
