//! Look-ups that never end, and those beside them.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::sleep;
use tower_webhook::{
    attempt::ResolveFuture,
    event::{AttemptError, Outcome},
};

use crate::{
    FORBIDDEN,
    hostile::{Api, Attempted, Stub, found, no_task_is_left, pause},
};

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

    fn never_ending(&self) -> impl Fn(&str) -> ResolveFuture + Send + Sync + use<> {
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

/// Answers a name that stalls never, and another one soon, with an address that is refused:
/// nothing is connected to.
fn answering(lookups: &Lookups) -> impl Fn(&str) -> ResolveFuture + Send + Sync + use<> {
    let lookups = lookups.clone();
    let never_ending = lookups.never_ending();
    move |name| match name.starts_with("stalls") {
        true => never_ending(name),
        false => {
            let lookup = Lookup(lookups.begin());
            Box::pin(async move {
                let _lookup = lookup;
                sleep(Duration::from_millis(100)).await;
                found(["127.0.0.2"]).await
            })
        }
    }
}

/// The end of the next attempt whose name was resolved.
async fn resolved(api: &mut Api) -> Attempted {
    loop {
        let attempted = api.attempted().await;
        if attempted.outcome == FORBIDDEN {
            return attempted;
        }
        assert_eq!(attempted.outcome, UNRESOLVED);
    }
}

#[tokio::test]
async fn not_many_look_ups_are_under_way_and_each_has_its_turn() {
    pause();
    let lookups = Lookups::default();
    let mut api = Api::resolving(answering(&lookups));
    for at in 0..2 * 64 {
        api.send(&format!("https://stalls-{at}.example.com/")).await;
    }
    for at in 0..36 {
        api.send(&format!("https://receiver-{at}.example.com/"))
            .await;
    }
    for _ in 0..36 {
        let attempted = resolved(&mut api).await;
        assert_eq!(attempted.attempt, 1, "{attempted:?}");
        assert!(attempted.took < Duration::from_secs(11), "{attempted:?}");
    }
    assert_eq!(lookups.most(), 64);
    api.dispatcher.shutdown(Duration::ZERO).await;
    drop(api);
    no_task_is_left().await;
    assert_eq!(lookups.under_way(), 0);
}

#[tokio::test]
async fn attempts_at_the_same_time_share_a_look_up() {
    pause();
    let lookups = Lookups::default();
    let mut api = Api::resolving(answering(&lookups));
    for at in 0..64 {
        let host = at / 4;
        api.send(&format!("https://stalls-{host}.example.com/"))
            .await;
    }
    api.send("https://receiver.example.com/").await;
    let attempted = resolved(&mut api).await;
    assert_eq!(attempted.attempt, 1, "{attempted:?}");
    assert!(attempted.took < Duration::from_secs(1), "{attempted:?}");
    assert_eq!(lookups.most(), 17);
    for _ in 0..64 {
        let attempted = api.attempted().await;
        assert_eq!(attempted.outcome, UNRESOLVED);
        assert!(attempted.took < Duration::from_secs(6), "{attempted:?}");
    }
    api.dispatcher.shutdown(Duration::ZERO).await;
    drop(api);
    no_task_is_left().await;
    assert_eq!(lookups.under_way(), 0);
}

/// New hosts of others are looked up within a second while these stall.
async fn do_not_delay_others(stalls: impl Fn(usize) -> String) {
    pause();
    let lookups = Lookups::default();
    let mut api = Api::resolving(answering(&lookups));
    for at in 0..512 {
        api.send(&format!("https://{}/", stalls(at))).await;
    }
    for at in 0..5 {
        sleep(Duration::from_millis(700)).await;
        api.send(&format!("https://receiver.other-{at}.example/"))
            .await;
        let attempted = resolved(&mut api).await;
        assert_eq!(attempted.attempt, 1, "{attempted:?}");
        assert!(attempted.took < Duration::from_secs(1), "{attempted:?}");
    }
    assert!((64..=80).contains(&lookups.most()), "{}", lookups.most());
    api.dispatcher.shutdown(Duration::ZERO).await;
    drop(api);
    no_task_is_left().await;
    assert_eq!(lookups.under_way(), 0);
}

/// Names of one domain cost nothing.
#[tokio::test]
async fn many_names_of_a_domain_that_stalls_do_not_delay_others() {
    do_not_delay_others(|at| format!("stalls-{at}.example.com")).await;
}

#[tokio::test]
async fn many_domains_that_stall_do_not_delay_others() {
    do_not_delay_others(|at| format!("stalls-{at}.example")).await;
}
