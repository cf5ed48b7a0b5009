//! `Debug` and `Display` of everything that holds something secret.

use std::{convert::Infallible, fmt, future::pending, iter, time::Duration};

use axum::body::Body;
use http::{HeaderName, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_webhook::{
    BoxError, Delivery, Dispatcher, EndpointPolicy, EventKind, Payload, RequestId, RetryPolicy,
    Secret, Verifier, WebhookLayer,
    delivery::DeliveryParts,
    outbox::{
        DeliveryFilter, DeliveryRecord, DueDeliveries, Lease, Limits, MemoryOutbox, NewDelivery,
        Outbox, Page, Sealing, SettleOutcome, Settlement, StoredDelivery, Want,
    },
};

use crate::{PATH, QUERY, SECRET, asking, expect_nothing_secret, support::rig::Rig};

#[tokio::test]
async fn debug_of_what_a_call_is_made_of_shows_no_secret() {
    let policy = EndpointPolicy::public();
    let url = format!("https://receiver.example.com/{PATH}?token={QUERY}");
    let endpoint = policy.check(&url).unwrap();
    let id = RequestId::parse("run-1").unwrap();
    let mut parts = DeliveryParts::new(endpoint.clone(), Payload::from(SECRET));
    parts.request_id = id.clone();
    parts.secret = Some(Secret::new(SECRET));
    let delivery = Delivery::from(parts.clone());

    let (note, mut noted) = tokio::sync::mpsc::unbounded_channel();
    let mut rig = Rig::with_built(|builder| {
        let sink = service_fn(move |delivery: Delivery| {
            note.send(delivery).unwrap();
            async { Ok::<_, Infallible>(()) }
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
    let refused = policy
        .check(&format!("http://user:{SECRET}@127.0.0.1/{PATH}?{QUERY}"))
        .unwrap_err();
    let certificate = Dispatcher::builder().with_root_certificates(SECRET.as_bytes());
    let certificate = certificate.unwrap_err();
    let mut calling = layer.layer(service_fn(|_: Request<()>| {
        std::future::pending::<Result<Response<Body>, Infallible>>()
    }));
    let future = Service::call(
        &mut calling,
        asking("https://receiver.example.com", "run-2"),
    );
    shown.extend([
        format!("{endpoint:?} {endpoint:#?} {endpoint}"),
        format!("{certificate:?} {certificate}"),
        format!("{parts:?} {parts:#?} {delivery:?} {delivery:#?}"),
        format!("{:?} {:?}", Secret::new(SECRET), Verifier::new(SECRET)),
        format!("{:?} {:?}", Payload::from(SECRET), id),
        format!("{refused:?} {refused}"),
        format!("{layer:?} {:?} {:?}", Dispatcher::builder(), rig.dispatcher),
        format!("{policy:?} {:?}", RetryPolicy::default()),
        format!("{future:?} {calling:?} {:?}", WebhookLayer::new()),
        format!("{:?} {}", endpoint.host_key(), endpoint.host_key()),
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

/// Accepts a webhook whose body is not for everybody either.
async fn call(dispatcher: &Dispatcher, endpoint: &str) {
    let handler =
        service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(Body::from(SECRET))));
    let layer = WebhookLayer::new().with_dispatcher(dispatcher.clone());
    let response = layer.layer(handler).oneshot(asking(endpoint, "run-1"));
    response.await.unwrap().into_body().collect().await.unwrap();
}

#[tokio::test]
async fn debug_of_what_is_given_up_shows_no_secret() {
    let stalls = service_fn(|_| pending::<Result<Response<Body>, Infallible>>());
    let dispatcher = Dispatcher::builder().with_client(stalls).build();
    call(&dispatcher, "https://receiver.example.com").await;
    let report = dispatcher.shutdown(Duration::ZERO).await;
    assert_eq!(report.abandoned.len(), 1);
    expect_nothing_secret(&format!("{report:?} {report:#?}"));
}

/// Shows whatever goes through it.
struct Shown {
    inner: MemoryOutbox,
    show: UnboundedSender<String>,
}

impl Shown {
    fn show(&self, it: &dyn fmt::Debug) {
        let _ = self.show.send(format!("{it:?} {it:#?}"));
    }
}

impl Outbox for Shown {
    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn sealing(&self) -> Sealing {
        let sealing = self.inner.sealing();
        self.show(&sealing);
        sealing
    }

    async fn insert(&self, batch: Vec<NewDelivery>) -> Result<Vec<Option<Lease>>, BoxError> {
        self.show(&batch);
        let batch = batch
            .into_iter()
            .map(|new| NewDelivery::new(new.stored, false));
        self.inner.insert(batch.collect()).await?;
        Ok(vec![None])
    }

    async fn fetch(&self, want: Want) -> Result<DueDeliveries, BoxError> {
        self.show(&want);
        let due = self.inner.fetch(want).await?;
        self.show(&due);
        Ok(due)
    }

    async fn settle(&self, batch: Vec<Settlement>) -> Result<Vec<SettleOutcome>, BoxError> {
        self.show(&batch);
        self.inner.settle(batch).await
    }

    async fn renew(&self, leases: Vec<Lease>) -> Result<Vec<Lease>, BoxError> {
        self.inner.renew(leases).await
    }

    async fn close(&self) -> Result<Vec<StoredDelivery>, BoxError> {
        self.inner.close().await
    }

    async fn list(
        &self,
        filter: DeliveryFilter,
        page: Page,
    ) -> Result<Vec<DeliveryRecord>, BoxError> {
        self.show(&(&filter, page));
        let records = self.inner.list(filter, page).await?;
        self.show(&records);
        Ok(records)
    }
}

#[tokio::test]
async fn debug_of_what_an_outbox_keeps_shows_no_secret() {
    let (show, mut shown) = unbounded_channel();
    let inner = MemoryOutbox::new();
    let outbox = Shown { inner, show };
    let refuses = service_fn(async |_| {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        Ok::<_, Infallible>(answer)
    });
    let (tell, mut ends) = unbounded_channel();
    let dispatcher = Dispatcher::builder()
        .with_outbox(outbox)
        .with_client(refuses)
        .on_event(move |event| {
            if event.is_final() {
                tell.send(event.kind().clone()).unwrap();
            }
        })
        .build();
    call(&dispatcher, "https://receiver.example.com").await;
    let end = ends.recv().await.unwrap();
    assert!(matches!(end, EventKind::Dead { .. }), "{end:?}");
    let filter = DeliveryFilter::new().with_endpoint_host("receiver.example.com");
    let dead = dispatcher
        .deliveries(&filter, Page::first(9))
        .await
        .unwrap();
    assert_eq!(dead.len(), 1);
    let shown: Vec<_> = iter::from_fn(|| shown.try_recv().ok()).collect();
    for kind in ["Want", "LeasedDelivery", "DeliveryFilter", "DeliveryRecord"] {
        assert!(shown.iter().any(|shown| shown.contains(kind)), "{kind}");
    }
    for shown in &shown {
        expect_nothing_secret(shown);
    }
}

#[tokio::test]
async fn debug_of_what_a_receiver_verifies_shows_no_secret() {
    let mut rig = Rig::new().await;
    call(&rig.dispatcher, rig.receiver.url("").trim_end_matches('/')).await;
    let webhook = rig.receiver.next().await;
    let verify = |verifier: Verifier| verifier.verify(&webhook.headers, &webhook.body);
    let verified = verify(Verifier::new(SECRET)).unwrap();
    let refused = verify(Verifier::new("another one")).unwrap_err();
    let invalid = Verifier::from_standard_secret(SECRET).unwrap_err();
    for shown in [
        format!("{verified:?} {verified:#?}"),
        format!("{refused:?} {refused} {:?}", refused.kind()),
        format!("{invalid:?} {invalid}"),
    ] {
        expect_nothing_secret(&shown);
    }
}
