//! Look-ups that never end.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tower_webhook::{AttemptError, Outcome, Resolving};

use crate::hostile::{Api, Stub, no_task_is_left, pause};

const UNRESOLVED: Outcome = Outcome::Failed(AttemptError::Resolve);

/// Look-ups under way, and the most that ever were.
#[derive(Clone, Default)]
struct Lookups(Arc<(AtomicUsize, AtomicUsize)>);

impl Lookups {
    fn begin(&self) -> Self {
        let under_way = self.0.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.1.fetch_max(under_way, Ordering::SeqCst);
        self.clone()
    }

    fn under_way(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }

    fn most(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }

    fn never_ending(&self) -> impl Fn(&str) -> Resolving + Send + Sync + 'static {
        let lookups = self.clone();
        move |_| {
            let lookup = Lookup(lookups.begin());
            Box::pin(async move {
                let _lookup = lookup;
                pending().await
            })
        }
    }
}

struct Lookup(Lookups);

impl Drop for Lookup {
    fn drop(&mut self) {
        self.0.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_look_up_has_an_end() {
    pause();
    let lookups = Lookups::default();
    let mut api = Api::resolving(lookups.never_ending());
    let attempted = api.attempt("https://receiver.example.com/").await;
    assert_eq!((attempted.outcome, attempted.again), (UNRESOLVED, true));
    assert!(attempted.took < Duration::from_secs(6), "{attempted:?}");
    assert_eq!((lookups.most(), lookups.under_way()), (1, 0));
    drop(api);
    no_task_is_left().await;
}

#[tokio::test]
async fn a_look_up_ends_with_its_attempt() {
    pause();
    let lookups = Lookups::default();
    let mut api = Api::with(|builder| {
        builder
            .with_attempt_timeout(Duration::from_secs(1))
            .with_resolver(Stub(lookups.never_ending()))
    });
    let attempted = api.attempt("https://receiver.example.com/").await;
    assert_eq!(attempted.outcome, Outcome::Failed(AttemptError::TimedOut));
    assert!(attempted.took < Duration::from_secs(2), "{attempted:?}");
    assert_eq!((lookups.most(), lookups.under_way()), (1, 0));
    drop(api);
    no_task_is_left().await;
}

#[tokio::test]
async fn not_many_look_ups_are_under_way() {
    pause();
    let lookups = Lookups::default();
    let mut api = Api::resolving(lookups.never_ending());
    for at in 0..100 {
        api.send(&format!("https://receiver-{at}.example.com/"))
            .await;
    }
    for _ in 0..100 {
        let attempted = api.attempted().await;
        assert_eq!(attempted.outcome, UNRESOLVED);
        assert!(attempted.took < Duration::from_secs(6), "{attempted:?}");
    }
    assert_eq!(lookups.most(), 64);
    api.dispatcher.shutdown(Duration::ZERO).await;
    drop(api);
    no_task_is_left().await;
    assert_eq!(lookups.under_way(), 0);
}
