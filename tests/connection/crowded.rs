//! Many names that lead to one address.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tower_webhook::{
    EndpointPolicy, EventKind,
    event::{AttemptError, Outcome},
};

use crate::{
    TAKEN, TAKES,
    hostile::{Api, Receiver, found, no_task_is_left, pause},
};

const NAMES: usize = 512;
/// One port of an address that is not known to answer has as many attempts as one host.
const PLACES: usize = 64;

/// Names that begin with `stalls` lead to 127.0.0.2, all others to 127.0.0.1.
fn api() -> Api {
    Api::with(|builder| {
        let policy = EndpointPolicy::public().with_insecure_http();
        builder
            .with_endpoint_policy(policy.with_allowed_network("127.0.0.0/8").unwrap())
            .with_max_sockets(1_536)
            .with_resolver(crate::hostile::Stub(|name: &str| {
                match name.starts_with("stalls") {
                    true => found(["127.0.0.2"]),
                    false => found(["127.0.0.1"]),
                }
            }))
    })
}

/// A receiver at 127.0.0.2 that never answers, and the most connections that it ever had.
fn stalling() -> (Receiver, Arc<AtomicUsize>) {
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let most_of_all = Arc::clone(&most);
    let receiver = Receiver::at("127.0.0.2:0", move |mut conn| {
        let (open, most) = (Arc::clone(&open), Arc::clone(&most));
        async move {
            most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            conn.request().await;
            conn.closed().await;
            open.fetch_sub(1, Ordering::SeqCst);
        }
    });
    (receiver, most_of_all)
}

#[tokio::test]
async fn many_names_of_one_address_share_a_limit_and_leave_others_alone() {
    pause();
    let (stalling, most) = stalling();
    let receiver = Receiver::answering(TAKES);
    let mut api = api();
    for at in 0..NAMES {
        api.send(&stalling.url_at(&format!("stalls-{at}.example.com")))
            .await;
    }
    for at in 0..8 {
        api.send(&receiver.url_at(&format!("receiver-{at}.example.com")))
            .await;
    }
    let mut taken = 0;
    while taken < 8 {
        let attempted = api.attempted().await;
        if attempted.outcome == TAKEN {
            assert_eq!(attempted.attempt, 1);
            assert!(attempted.took < Duration::from_secs(1), "{attempted:?}");
            taken += 1;
        }
    }
    assert_eq!(most.load(Ordering::SeqCst), PLACES);
    api.dispatcher.shutdown(Duration::ZERO).await;
    drop((api, stalling, receiver));
    no_task_is_left().await;
}

/// They are put off, which is not an attempt, and end all the same.
#[tokio::test]
async fn what_is_put_off_ends() {
    pause();
    let (stalling, most) = stalling();
    let mut api = api();
    const NUMBER: usize = 4 * PLACES;
    for at in 0..NUMBER {
        api.send(&stalling.url_at(&format!("stalls-{at}.example.com")))
            .await;
    }
    let (mut crowded, mut dead) = (0, 0);
    while dead < NUMBER {
        match api.event().await {
            EventKind::Attempted { outcome, .. } => match outcome {
                Outcome::Failed(AttemptError::Crowded) => crowded += 1,
                outcome => assert_eq!(outcome, Outcome::Failed(AttemptError::TimedOut)),
            },
            EventKind::Dead { attempts, .. } => {
                assert_eq!(attempts, 3);
                dead += 1;
            }
            _ => {}
        }
    }
    assert!((1..3 * NUMBER).contains(&crowded), "{crowded}");
    assert_eq!(most.load(Ordering::SeqCst), PLACES);
    drop((api, stalling));
    no_task_is_left().await;
}

/// As those behind a content delivery network do.
#[tokio::test]
async fn names_share_an_address_that_answers() {
    let receiver = Receiver::answering(TAKES);
    let mut api = api();
    for at in 0..NAMES {
        api.send(&receiver.url_at(&format!("receiver-{at}.example.com")))
            .await;
    }
    for _ in 0..NAMES {
        let attempted = api.attempted().await;
        assert_eq!((attempted.attempt, attempted.outcome), (1, TAKEN));
    }
    assert_eq!(receiver.accepted(), NAMES);
}
