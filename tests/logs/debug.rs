//! `Debug` and `Display` of everything that holds something secret.

use std::{convert::Infallible, time::Duration};

use axum::body::Body;
use http::{HeaderName, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_webhook::{
    Delivery, DeliveryParts, Dispatcher, EndpointPolicy, Payload, RequestId, RetryPolicy, Secret,
    Verifier, WebhookLayer,
    outbox::{Accepted, MemoryOutbox, Outbox},
};

use crate::{PATH, QUERY, SECRET, asking, expect_nothing_secret, support::rig::Rig};

#[tokio::test]
async fn debug_shows_no_secret_of_any_type() {
    let policy = EndpointPolicy::public();
    let url = format!("https://receiver.example.com/{PATH}?token={QUERY}");
    let endpoint = policy.check(&url).unwrap();
    let id = RequestId::parse("run-1").unwrap();
    let mut parts = DeliveryParts::new(
        id.clone(),
        endpoint.clone(),
        StatusCode::OK,
        Payload::from(SECRET),
    );
    parts.secret = Some(Secret::new(SECRET));
    let delivery = Delivery::from(parts.clone());

    let (note, mut noted) = tokio::sync::mpsc::unbounded_channel();
    let mut rig = Rig::with_built(|builder| {
        let sink = service_fn(move |delivery: Delivery| {
            note.send(delivery).unwrap();
            async { Ok::<_, Infallible>(Accepted::in_memory()) }
        });
        builder.with_sink(sink).build()
    })
    .await;
    let layer = rig
        .layer()
        .with_endpoint_header(HeaderName::from_static("x-endpoint"));
    let handler =
        service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(Body::from("done"))));
    let calling = layer
        .layer(handler)
        .oneshot(asking("https://receiver.example.com", "run-1"));
    let response = calling.await.unwrap();
    let mut shown = vec![format!("{:?}", response.body())];
    response.into_body().collect().await.unwrap();
    let kept = noted.recv().await.unwrap();
    shown.push(format!("{kept:?} {kept:#?}"));
    drop(kept);
    let memory = MemoryOutbox::new();
    shown.push(format!("{memory:?}"));
    let (mut sink, source, ledger) = memory.split();
    Service::call(&mut sink, delivery.clone()).await.unwrap();
    let refused = policy
        .check(&format!("http://user:{SECRET}@127.0.0.1/{PATH}?{QUERY}"))
        .unwrap_err();
    let mut calling = layer.layer(service_fn(|_: Request<()>| {
        std::future::pending::<Result<Response<Body>, Infallible>>()
    }));
    let future = Service::call(
        &mut calling,
        asking("https://receiver.example.com", "run-2"),
    );
    shown.extend([
        format!("{endpoint:?} {endpoint:#?} {endpoint}"),
        format!("{parts:?} {parts:#?} {delivery:?} {delivery:#?}"),
        format!("{:?} {:?}", Secret::new(SECRET), Verifier::new(SECRET)),
        format!("{:?} {:?}", Payload::from(SECRET), id),
        format!("{sink:?} {source:?} {ledger:?}"),
        format!("{refused:?} {refused}"),
        format!("{layer:?} {:?} {:?}", Dispatcher::builder(), rig.dispatcher),
        format!("{policy:?} {:?}", RetryPolicy::default()),
        format!("{future:?} {:?}", WebhookLayer::new()),
    ]);
    drop((future, calling));
    let report = rig.dispatcher.shutdown(Duration::ZERO).await;
    shown.push(format!("{report:?}"));
    shown.extend(
        rig.events
            .rest()
            .iter()
            .map(|event| format!("{event:?} {event:#?}")),
    );
    for shown in &shown {
        expect_nothing_secret(shown);
    }
}
