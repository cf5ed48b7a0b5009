//! A runtime that ends while there is always something to deliver.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use futures::{FutureExt, executor::block_on};
use tokio::runtime::{Builder, Handle, Runtime};
use tower::service_fn;
use tower_webhook::{
    BoxError, Delivery, DeliveryParts, Dispatcher, EndpointPolicy, EventKind, Payload, RequestId,
    outbox::{Accepted, AttemptRecord, Claim, Demand, MemoryOutbox, Outbox, Source, Verdict},
};

use crate::world::{World, call};

/// More than a worker claims before it lets others go on.
const ENDLESS: usize = 100_000;

/// Always has a claim. The first time it waits, its thread and all, until it is told to go on.
struct Inexhaustible {
    reached: mpsc::Sender<()>,
    go_on: Option<mpsc::Receiver<()>>,
    claims: Arc<AtomicUsize>,
}

struct Again(Delivery);

impl Source for Inexhaustible {
    type Claim = Again;

    async fn next(&mut self, _: Demand<'_>) -> Result<Vec<Again>, BoxError> {
        if let Some(go_on) = self.go_on.take() {
            self.reached.send(()).unwrap();
            go_on.recv().unwrap();
        }
        let claims = self.claims.fetch_add(1, Ordering::SeqCst);
        assert!(claims < ENDLESS, "nobody else ever has a turn");
        let parts = DeliveryParts::new(
            RequestId::parse("a").unwrap(),
            EndpointPolicy::public().check("https://example.com/")?,
            http::StatusCode::OK,
            Payload::from("done"),
        );
        Ok(vec![Again(parts.into())])
    }
}

impl Claim for Again {
    fn delivery(&self) -> &Delivery {
        &self.0
    }

    fn attempt(&self) -> u32 {
        1
    }

    async fn settle(self, _: Verdict, _: AttemptRecord) -> Result<(), BoxError> {
        Ok(())
    }
}

/// What is spawned on a runtime that is being shut down is dropped at once, and its claim is there
/// again: the worker must not go on with that for ever.
#[test]
fn a_runtime_ends_though_there_is_always_something_due() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (reached, is_reached) = mpsc::channel();
    let (go, go_on) = mpsc::channel();
    let claims = Arc::new(AtomicUsize::new(0));
    let source = Inexhaustible {
        reached,
        go_on: Some(go_on),
        claims: Arc::clone(&claims),
    };
    let (sink, _, ledger) = MemoryOutbox::new().split();
    let dispatcher = Dispatcher::builder()
        .with_outbox((sink, source, ledger))
        .build();
    runtime.block_on(async { dispatcher.start() });
    is_reached.recv().unwrap();

    let handle = runtime.handle().clone();
    let runtime = Mutex::new(Some(runtime));
    thread::scope(|scope| {
        let ending = scope.spawn(|| drop(runtime.lock().unwrap().take()));
        while !is_shut_down(&handle) {
            thread::yield_now();
        }
        go.send(()).unwrap();
        ending.join().unwrap();
    });
    assert!(claims.load(Ordering::SeqCst) < ENDLESS);
}

/// Then a task is dropped as soon as it is spawned. One of the threads is free to say so: the other
/// one waits in the source.
fn is_shut_down(handle: &Handle) -> bool {
    block_on(handle.spawn(async {})).is_err()
}

/// A dispatcher whose worker runs on a runtime, and whose outbox takes nothing.
fn on_a_runtime<F>(
    sink: impl Fn(Delivery) -> F + Clone + Send + Sync + 'static,
) -> (Runtime, World, Dispatcher)
where
    F: Future<Output = Result<Accepted, BoxError>> + Send + 'static,
{
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let (_, source, ledger) = MemoryOutbox::new().split();
    let outbox = (service_fn(sink), source, ledger);
    let (world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
    let dispatcher = builder.build();
    runtime.block_on(async { dispatcher.start() });
    (runtime, world, dispatcher)
}

fn kinds(world: &mut World) -> Vec<EventKind> {
    std::iter::from_fn(|| world.events.try_recv().ok())
        .map(|event| event.kind().clone())
        .collect()
}

#[test]
fn what_the_outbox_does_not_take_is_given_up_outside_a_runtime() {
    let (_runtime, mut world, dispatcher) =
        on_a_runtime(|_| async { Err(BoxError::from("disk full")) });
    assert_eq!(block_on(call(&dispatcher, "example.com", "a")), 200);
    let ends = [
        EventKind::Accepted,
        EventKind::OutboxFailed,
        EventKind::Abandoned,
    ];
    assert_eq!(kinds(&mut world), ends);
    assert_eq!(dispatcher.outstanding(), 0);
}

#[test]
fn a_slow_outbox_has_its_time_outside_a_runtime_as_well() {
    let (runtime, mut world, dispatcher) = on_a_runtime(|_| std::future::pending());
    let mut calling = Box::pin(call(&dispatcher, "example.com", "a"));
    runtime.block_on(async {
        assert!(futures::poll!(&mut calling).is_pending());
        tokio::time::sleep(Duration::from_secs(6)).await;
    });
    assert_eq!(calling.now_or_never().unwrap(), 200);
    assert!(kinds(&mut world).contains(&EventKind::Abandoned));
}
