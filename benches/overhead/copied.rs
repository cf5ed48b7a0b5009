//! How many bytes of a response of large frames are copied: all that reach the sink at another
//! place in memory than that at which the wrapped service made them.

use std::{
    convert::Infallible,
    future::ready,
    iter::repeat_with,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tower::{Layer, ServiceExt, service_fn};
use tower_webhook::{Delivery, Dispatcher, WebhookLayer};

use crate::{row, support::report::Report};

pub(crate) const FIGURES: &[&str] = &["captured_copied_bytes"];

const FRAMES: usize = 16;
const FRAME: usize = 64 << 10;

pub(crate) fn measure(report: &mut Report) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let frames: Vec<Bytes> = repeat_with(|| Bytes::from(vec![7; FRAME]))
        .take(FRAMES)
        .collect();
    let (seen, kept) = runtime.block_on(forward(&frames));
    let copied = |segments: &[Place]| -> usize {
        let is_frame = |place: &Place| frames.iter().any(|frame| place_of(frame) == *place);
        let copies = segments.iter().filter(|place| !is_frame(place));
        copies.map(|place| place.1).sum()
    };
    let total = |segments: &[Place]| -> usize { segments.iter().map(|place| place.1).sum() };
    assert_eq!(
        (total(&seen), total(&kept)),
        (FRAMES * FRAME, FRAMES * FRAME)
    );
    let table = [
        row!["", "bytes", "copied"],
        row!["to the caller", total(&seen), copied(&seen)],
        row!["to the outbox", total(&kept), copied(&kept)],
    ];
    report.table("A response of 16 frames of 64 KiB", &table);
    let copied = copied(&seen) + copied(&kept);
    report.figure("captured_copied_bytes", copied as f64);
}

/// Where bytes are, and how many.
type Place = (usize, usize);

fn place_of(bytes: &[u8]) -> Place {
    (bytes.as_ptr().addr(), bytes.len())
}

/// What the caller sees, and what the outbox is given.
async fn forward(frames: &[Bytes]) -> (Vec<Place>, Vec<Place>) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeping = Arc::clone(&kept);
    let sink = service_fn(move |delivery: Delivery| {
        let mut kept = keeping.lock().expect("nobody panics with it");
        kept.extend(delivery.payload().segments().map(place_of));
        async { Ok::<_, Infallible>(()) }
    });
    let dispatcher = Dispatcher::builder().with_sink(sink).build();
    let frames = frames.to_vec();
    let layer = WebhookLayer::new().with_dispatcher(dispatcher);
    let service = layer.layer(service_fn(move |_: Request<()>| {
        let frames = frames.clone().into_iter().map(Frame::data);
        let body = StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>)));
        ready(Ok::<_, Infallible>(Response::new(body)))
    }));
    let request = Request::get("/?webhookEndpoint=https://receiver.example.com")
        .body(())
        .expect("a valid request");
    let Ok(response) = service.oneshot(request).await;
    let mut body = response.into_body();
    let mut seen = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame;
        seen.extend(frame.data_ref().map(|data| place_of(data)));
    }
    let kept = kept.lock().expect("nobody panics with it").clone();
    (seen, kept)
}
