//! Callers of a dispatcher whose receivers are no network: they answer at once, or never.
#![allow(dead_code, reason = "each bench uses a part of it")]

use std::{
    convert::Infallible,
    env,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use tokio::task::JoinSet;
use tower::service_fn;
use tower_webhook::{
    Dispatcher, EndpointPolicy, Payload, delivery::DeliveryParts, dispatch::DispatcherBuilder,
};

pub(crate) const CALLERS: usize = 64;
pub(crate) const SIZE: usize = 1_024;

/// A receiver that answers at once.
pub(crate) const ALIVE: &str = "https://a.example/hook";
/// One that never does.
pub(crate) const DEAD: &str = "https://dead.example/hook";

pub(crate) fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |number| number.parse().expect("a number"))
}

pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// A dispatcher that counts the attempts at receivers that are alive.
pub(crate) fn builder(number: &Arc<AtomicU64>) -> DispatcherBuilder {
    let number = Arc::clone(number);
    let client = service_fn(move |request: Request<Payload>| {
        let is_dead = request.uri().host() == Some("dead.example");
        number.fetch_add(u64::from(!is_dead), Ordering::Relaxed);
        async move {
            if is_dead {
                std::future::pending::<()>().await;
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    Dispatcher::builder_with_client(client)
}

/// Whether it was accepted.
pub(crate) async fn deliver(dispatcher: Dispatcher, endpoint: &'static str) -> bool {
    let endpoint = EndpointPolicy::public().check(endpoint);
    let payload = Payload::from(Bytes::from_static(&[b'x'; SIZE]));
    let parts = DeliveryParts::new(endpoint.expect("it is an endpoint"), payload);
    dispatcher.deliver(parts).await.is_ok()
}

/// Runs callers in a closed loop; successful calls a second.
pub(crate) async fn load<C, F>(time: Duration, call: C) -> f64
where
    C: Fn() -> F + Clone + Send + 'static,
    F: Future<Output = bool> + Send,
{
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let call = call.clone();
        callers.spawn(async move {
            let mut answered = 0_u64;
            while began.elapsed() < time {
                match call().await {
                    true => answered += 1,
                    false => tokio::task::yield_now().await,
                }
            }
            answered
        });
    }
    let answered: u64 = callers.join_all().await.into_iter().sum();
    answered as f64 / began.elapsed().as_secs_f64()
}

/// What a second brings at a dispatcher that delivers.
pub(crate) struct Rates {
    pub(crate) accepted: f64,
    pub(crate) delivered: f64,
}

/// Of a dispatcher that counts its attempts here.
pub(crate) async fn rates(dispatcher: &Dispatcher, number: &AtomicU64, time: Duration) -> Rates {
    let call = {
        let dispatcher = dispatcher.clone();
        move || deliver(dispatcher.clone(), ALIVE)
    };
    load(time / 4, call.clone()).await;
    let (before, began) = (number.load(Ordering::Relaxed), Instant::now());
    let accepted = load(time, call).await;
    let delivered = number.load(Ordering::Relaxed) - before;
    let delivered = delivered as f64 / began.elapsed().as_secs_f64();
    Rates {
        accepted,
        delivered,
    }
}

/// Accepted per second by a dispatcher that leaves the attempts to others.
pub(crate) async fn accepting_alone(builder: DispatcherBuilder, time: Duration) -> f64 {
    let dispatcher = builder.without_attempts().build();
    let deliver = {
        let dispatcher = dispatcher.clone();
        move || deliver(dispatcher.clone(), ALIVE)
    };
    load(time / 4, deliver.clone()).await;
    let accepted = load(time, deliver).await;
    dispatcher.shutdown(Duration::from_millis(100)).await;
    accepted
}

/// Leaves so many for this endpoint in the outbox of this dispatcher.
pub(crate) async fn leave(builder: DispatcherBuilder, number: u64, endpoint: &'static str) {
    const AT_ONCE: u64 = 1_024;
    let builder = builder.with_max_outstanding(2 * AT_ONCE as usize);
    let builder = builder.with_max_outstanding_per_host(2 * AT_ONCE as usize);
    let dispatcher = builder.without_attempts().build();
    let mut callers = JoinSet::new();
    for caller in 0..AT_ONCE {
        let dispatcher = dispatcher.clone();
        let number = number / AT_ONCE + u64::from(caller < number % AT_ONCE);
        callers.spawn(async move {
            for _ in 0..number {
                assert!(deliver(dispatcher.clone(), endpoint).await, "there is room");
            }
        });
    }
    callers.join_all().await;
    dispatcher.shutdown(Duration::from_secs(5)).await;
}
