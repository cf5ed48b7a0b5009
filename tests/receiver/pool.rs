//! Connections that are kept open for the next delivery.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Barrier, Notify},
    task::yield_now,
    time::Instant,
};
use tower_webhook::event::{AttemptError, Outcome};

use crate::{
    answered,
    hostile::{Api, Receiver, no_task_is_left, pause, resume, within},
};

const TAKEN: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const MAX_ATTEMPTS: usize = 4;

fn frugal() -> Api {
    Api::with(|builder| {
        builder
            .with_max_attempts(MAX_ATTEMPTS)
            .with_max_attempts_per_host(MAX_ATTEMPTS)
    })
}

fn open(receivers: &[Receiver]) -> usize {
    receivers.iter().map(Receiver::open).sum()
}

/// Until no more than these are open. No time goes by meanwhile: none is idle for too long.
async fn at_most(count: usize, receivers: &[Receiver]) {
    pause();
    within(async {
        while open(receivers) > count {
            yield_now().await;
        }
    })
    .await;
    resume();
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let receiver = Receiver::answering(TAKEN);
    let mut api = Api::new();
    for length in [0, 1, 2 << 20, 4 << 20, 3] {
        api.send_bytes(&receiver.url(), vec![b'x'; length]).await;
        assert_eq!(api.attempted().await.outcome, answered(204));
    }
    assert_eq!((receiver.accepted(), receiver.open()), (1, 1));
    crate::gone(api, receiver).await;
}

#[tokio::test]
async fn also_with_a_single_attempt_at_a_time() {
    let receiver = Receiver::answering(TAKEN);
    let mut api = Api::with(|builder| builder.with_max_attempts(1).with_max_attempts_per_host(1));
    for _ in 0..3 {
        api.send(&receiver.url()).await;
        assert_eq!(api.attempted().await.outcome, answered(204));
    }
    assert_eq!((receiver.accepted(), receiver.open()), (1, 1));
    crate::gone(api, receiver).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time() {
    let mut receiver = Receiver::answering(TAKEN);
    let mut api = Api::new();
    api.send(&receiver.url()).await;
    assert_eq!(api.attempted().await.outcome, answered(204));
    assert_eq!(receiver.open(), 1);
    pause();
    let idle = Instant::now();
    receiver.over().await;
    assert!(idle.elapsed() <= Duration::from_secs(60));
    crate::gone(api, receiver).await;
}

/// A connection that the receiver has closed is not used, whatever it said before.
#[tokio::test]
async fn a_connection_that_was_closed_is_not_used() {
    let mut receiver = Receiver::new(|mut conn| async move {
        conn.request().await.unwrap();
        conn.say(TAKEN).await;
    });
    let mut api = Api::new();
    for _ in 0..5 {
        api.send(&receiver.url()).await;
        assert_eq!(api.attempted().await.outcome, answered(204));
        receiver.over().await;
        // The client learns it with its next look at the socket.
        for _ in 0..100 {
            yield_now().await;
        }
    }
    assert_eq!(receiver.accepted(), 5);
    crate::gone(api, receiver).await;
}

/// It was open when it was kept: the attempt that would use it goes on with another one.
#[tokio::test]
async fn nor_is_one_that_is_closed_while_nobody_uses_it() {
    let close = Arc::new(Notify::new());
    let closing = Arc::clone(&close);
    let mut receiver = Receiver::new(move |mut conn| {
        let close = Arc::clone(&closing);
        async move {
            conn.request().await.unwrap();
            conn.say(TAKEN).await;
            close.notified().await;
        }
    });
    let mut api = Api::new();
    for number in 1..=3 {
        api.send(&receiver.url()).await;
        let attempted = api.attempted().await;
        assert_eq!((attempted.attempt, attempted.outcome), (1, answered(204)));
        assert_eq!((receiver.accepted(), receiver.open()), (number, 1));
        close.notify_one();
        receiver.over().await;
    }
    crate::gone(api, receiver).await;
}

/// The receiver may have acted on it: that is for the next attempt, which says that it is one.
#[tokio::test]
async fn what_a_receiver_has_read_is_not_sent_again_by_the_same_attempt() {
    let receiver = Receiver::new(|mut conn| async move {
        conn.request().await.unwrap();
        conn.say(TAKEN).await;
        conn.request().await.unwrap();
    });
    let mut api = Api::new();
    api.send(&receiver.url()).await;
    assert_eq!(api.attempted().await.outcome, answered(204));
    let lost = Outcome::Failed(AttemptError::ConnectionLost);
    assert_eq!(api.attempt(&receiver.url()).await.outcome, lost);
    assert_eq!(receiver.accepted(), 1);
    crate::gone(api, receiver).await;
}

#[tokio::test]
async fn one_receiver_after_the_other() {
    let receivers: Vec<_> = (0..16).map(|_| Receiver::answering(TAKEN)).collect();
    let mut api = frugal();
    for receiver in &receivers {
        api.send(&receiver.url()).await;
        assert_eq!(api.attempted().await.outcome, answered(204));
        at_most(MAX_ATTEMPTS, &receivers).await;
    }
    drop((api, receivers));
    no_task_is_left().await;
}

/// Hosts that have answered once may have all permits: strangers share half of them.
async fn are_known(api: &mut Api, receiver: &Receiver) {
    for at in 0..MAX_ATTEMPTS {
        let url = receiver.url_at(&format!("r{at}.example.com"));
        api.send(&url).await;
        assert_eq!(api.attempted().await.outcome, answered(204));
    }
}

#[tokio::test]
async fn many_receivers_at_once() {
    let mut receivers = vec![Receiver::answering(TAKEN)];
    let mut api = frugal();
    api.send(&receivers[0].url()).await;
    assert_eq!(api.attempted().await.outcome, answered(204));

    are_known(&mut api, &receivers[0]).await;

    let all_asked = Arc::new(Barrier::new(MAX_ATTEMPTS));
    for at in 0..MAX_ATTEMPTS {
        let all_asked = Arc::clone(&all_asked);
        let receiver = Receiver::new(move |mut conn| {
            let all_asked = Arc::clone(&all_asked);
            async move {
                conn.request().await.unwrap();
                all_asked.wait().await;
                conn.say(TAKEN).await;
                conn.closed().await;
            }
        });
        api.send(&receiver.url_at(&format!("r{at}.example.com")))
            .await;
        receivers.push(receiver);
    }
    for _ in 0..MAX_ATTEMPTS {
        assert_eq!(api.attempted().await.outcome, answered(204));
    }
    at_most(MAX_ATTEMPTS, &receivers).await;
    drop((api, receivers));
    no_task_is_left().await;
}

/// Those that are kept and those in use count together: each takes a file descriptor.
#[tokio::test]
async fn those_that_are_kept_make_way_for_those_in_use() {
    let mut receivers: Vec<_> = (0..MAX_ATTEMPTS)
        .map(|_| Receiver::answering(TAKEN))
        .collect();
    let mut api = frugal();
    for receiver in &receivers {
        api.send(&receiver.url()).await;
        assert_eq!(api.attempted().await.outcome, answered(204));
    }
    assert_eq!(open(&receivers), MAX_ATTEMPTS);
    are_known(&mut api, &receivers[0]).await;
    assert_eq!(open(&receivers), MAX_ATTEMPTS);

    let looked = Arc::new(Barrier::new(MAX_ATTEMPTS + 1));
    for at in 0..MAX_ATTEMPTS {
        let looked = Arc::clone(&looked);
        let mut receiver = Receiver::new(move |mut conn| {
            let looked = Arc::clone(&looked);
            async move {
                conn.request().await.unwrap();
                conn.here();
                looked.wait().await;
                conn.say(TAKEN).await;
                conn.closed().await;
            }
        });
        api.send(&receiver.url_at(&format!("r{at}.example.com")))
            .await;
        receiver.reached().await;
        receivers.push(receiver);
        at_most(MAX_ATTEMPTS, &receivers).await;
    }
    looked.wait().await;
    for _ in 0..MAX_ATTEMPTS {
        assert_eq!(api.attempted().await.outcome, answered(204));
    }
    drop((api, receivers));
    no_task_is_left().await;
}

/// The end of one attempt says nothing about the next one on its connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_pass_from_one_attempt_to_the_next() {
    let receiver = Receiver::answering(TAKEN);
    let mut api = Api::with(|builder| builder.with_max_attempts(64).with_max_attempts_per_host(4));
    for _ in 0..400 {
        while api.dispatcher.outstanding() > 200 {
            yield_now().await;
        }
        api.send_bytes(&receiver.url(), vec![b'x'; 100_000]).await;
    }
    for _ in 0..400 {
        assert_eq!(api.attempted().await.outcome, answered(204));
    }
    crate::gone(api, receiver).await;
}
