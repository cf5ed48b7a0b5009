//! A request that asks for no webhook, in process: what it costs more than with `Identity` in
//! the layer's place.

use std::{
    convert::Infallible,
    future::{Future, Ready, ready},
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, layer::util::Identity};
use tower_webhook::WebhookLayer;

use crate::{
    row,
    support::{args::Args, report::Report, rounds::Rounds},
};

pub(crate) const FIGURES: &[&str] = &["passthrough_added_ns", "passthrough_allocations"];

const CALLS: usize = 1_000;
const TARGETS: [&str; 3] = [
    "/run",
    "/run?limit=10&sort=name",
    "/run?model=small&prompt=hello+world&temperature=0.7&stream=false&session=0123456789abcdef",
];

/// The smallest service there is.
#[derive(Clone)]
struct Answer;

impl Service<Request<()>> for Answer {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        black_box(request);
        ready(Ok(Response::new(Full::new(Bytes::from_static(b"done")))))
    }
}

pub(crate) fn measure(args: &Args, report: &mut Report) {
    let mut table = vec![row!["target", "Identity, ns", "added, ns", "allocations"]];
    let mut worst = (0.0_f64, 0.0_f64);
    let mut with = WebhookLayer::new().layer(Answer);
    let mut without = Identity::new().layer(Answer);
    for target in TARGETS {
        let mut rounds = Rounds::new(2);
        for _ in 0..args.pick(2_001, 11) {
            for side in rounds.order() {
                let nanos = match side {
                    0 => time(&mut without, requests(target)),
                    _ => time(&mut with, requests(target)),
                };
                rounds.add(side, nanos);
            }
        }
        let added = rounds.difference(1, 0);
        let allocations = allocations(&mut with, target) - allocations(&mut without, target);
        worst = (worst.0.max(added), worst.1.max(allocations));
        table.push(row![
            target.get(..24).unwrap_or(target),
            format!("{:.1}", rounds.median(0)),
            format!("{added:.1}"),
            allocations,
        ]);
    }
    report.table("A request without a webhook, in process", &table);
    report.figure("passthrough_added_ns", worst.0);
    report.figure("passthrough_allocations", worst.1);
}

fn requests(target: &str) -> Vec<Request<()>> {
    let request = Request::post(target)
        .header("host", "api.example.com")
        .header("content-type", "application/json")
        .header("accept", "*/*")
        .header("user-agent", "bench")
        .header("x-request-id", "run-1")
        .body(())
        .expect("a valid request");
    vec![request; CALLS]
}

/// Nanoseconds for each call.
fn time<S>(service: &mut S, requests: Vec<Request<()>>) -> f64
where
    S: Service<Request<()>>,
{
    let started = Instant::now();
    for request in requests {
        call(service, request);
    }
    started.elapsed().as_secs_f64() * 1e9 / CALLS as f64
}

/// Allocations for each call.
fn allocations<S>(service: &mut S, target: &str) -> f64
where
    S: Service<Request<()>>,
{
    let requests = requests(target);
    let counted = allocation_counter::measure(|| {
        for request in requests {
            call(service, request);
        }
    });
    counted.count_total as f64 / CALLS as f64
}

fn call<S>(service: &mut S, request: Request<()>)
where
    S: Service<Request<()>>,
{
    let mut cx = Context::from_waker(Waker::noop());
    let ready = service.poll_ready(&mut cx).is_ready();
    let answer = black_box(pin!(service.call(request)).poll(&mut cx));
    assert!(ready && answer.is_ready());
}
