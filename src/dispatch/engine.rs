use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::FutureExt;
use tokio::{runtime::Handle, sync::watch};
use tower::ServiceExt;

use super::worker::{self, Attempt, AttemptHall, Attempts, Home, OnLoan, Stop};
use crate::{
    BoxError, Delivery,
    attempt::FarEnd,
    outbox::{Accepted, DeliveryFilter, DeliveryRecord, Ledger, Outbox, Source},
};

pub(super) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// An outbox with its worker, its types erased.
pub(super) trait Engine: Send + Sync {
    /// Accepts a delivery whose attempt can begin right here. `None` leaves it to
    /// [`accept`](Self::accept).
    fn begin(&self, delivery: &Delivery) -> Option<Result<Accepted, BoxError>>;

    fn accept(&self, delivery: Delivery) -> BoxFuture<Result<Accepted, BoxError>>;

    /// Whether what it accepts is delivered by its own worker.
    fn delivers(&self) -> bool;

    /// Starts the worker on this runtime, unless it runs already.
    fn start(&self, runtime: &Handle);

    /// Whether there is nothing to start: the worker runs, or it is not to.
    fn has_started(&self) -> bool;

    fn stop(&self, stop: Stop);

    fn is_stopped(&self) -> bool;

    /// Resolves once the worker has ended.
    fn ended(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// Takes what is lost when the process ends now.
    fn drain(&self) -> Vec<Delivery>;

    fn deliveries<'a>(&'a self, filter: &'a DeliveryFilter) -> Looked<'a, Vec<DeliveryRecord>>;

    fn redeliver<'a>(&'a self, filter: &'a DeliveryFilter) -> Looked<'a, usize>;
}

type Looked<'a, T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send + 'a>>;

pub(super) struct OutboxEngine<O: Outbox, F> {
    sink: O::Sink,
    delivers: bool,
    source: Home<O::Source>,
    ledger: O::Ledger,
    hall: Arc<AttemptHall<<O::Source as Source>::Claim, F>>,
    stop: watch::Sender<Stop>,
    /// What `stop` says, for whoever asks with each delivery.
    is_stopped: AtomicBool,
}

impl<O: Outbox, F> OutboxEngine<O, F> {
    pub(super) fn new(outbox: O, attempts: Arc<Attempts<F>>) -> Self {
        let delivers = outbox.delivers();
        let (sink, source, ledger) = outbox.split();
        Self {
            sink,
            delivers,
            source: Arc::new(Mutex::new(Some(source))),
            ledger,
            hall: Arc::new(AttemptHall::new(attempts)),
            stop: watch::Sender::new(Stop::No),
            is_stopped: AtomicBool::new(false),
        }
    }
}

impl<O: Outbox, F: FarEnd> Engine for OutboxEngine<O, F> {
    fn begin(&self, delivery: &Delivery) -> Option<Result<Accepted, BoxError>> {
        if !self.delivers || self.is_stopped() {
            return None;
        }
        let places = &self.hall.context().places;
        let place = places.try_take(delivery.endpoint().host_key())?;
        let claiming = AssertUnwindSafe(|| O::accept_claimed(&self.sink, delivery));
        let Ok(claimed) = catch_unwind(claiming) else {
            return Some(Err(panicked()));
        };
        let (accepted, claim) = claimed?;
        // Without an idle lane the claim is dropped, and due again: the worker has a new lane for it.
        drop(self.hall.hand_over(Attempt { claim, place }));
        Some(Ok(accepted))
    }

    fn accept(&self, delivery: Delivery) -> BoxFuture<Result<Accepted, BoxError>> {
        let accepting = AssertUnwindSafe(self.sink.clone().oneshot(delivery)).catch_unwind();
        Box::pin(async {
            match accepting.await {
                Ok(accepted) => accepted.map_err(Into::into),
                Err(_panic) => Err(panicked()),
            }
        })
    }

    fn delivers(&self) -> bool {
        self.delivers
    }

    fn has_started(&self) -> bool {
        !self.delivers || self.stop.receiver_count() > 0 || self.is_stopped()
    }

    fn start(&self, runtime: &Handle) {
        if self.has_started() {
            return;
        }
        if let Some(source) = OnLoan::take(&self.source) {
            let hall = Arc::clone(&self.hall);
            runtime.spawn(worker::run(hall, self.stop.subscribe(), source));
        }
    }

    fn stop(&self, stop: Stop) {
        self.is_stopped.store(true, Ordering::SeqCst);
        self.stop.send_replace(stop);
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::SeqCst)
    }

    fn ended(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.stop.closed())
    }

    fn drain(&self) -> Vec<Delivery> {
        let mut source = worker::lock(&self.source);
        source.as_mut().map(Source::drain).unwrap_or_default()
    }

    fn deliveries<'a>(&'a self, filter: &'a DeliveryFilter) -> Looked<'a, Vec<DeliveryRecord>> {
        Box::pin(self.ledger.deliveries(filter))
    }

    fn redeliver<'a>(&'a self, filter: &'a DeliveryFilter) -> Looked<'a, usize> {
        Box::pin(self.ledger.redeliver(filter))
    }
}

fn panicked() -> BoxError {
    "the sink panicked".into()
}
