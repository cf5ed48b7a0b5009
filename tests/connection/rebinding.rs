//! Names whose answer changes.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::StatusCode;
use tower_webhook::{EventKind, event::Outcome};

use crate::{
    FORBIDDEN, TAKEN, TAKES,
    hostile::{Api, Receiver, found, no_task_is_left, pause},
};

/// Answers each look-up with the next of these, and then with the last one.
fn in_turn(answers: &'static [&'static str]) -> Api {
    let asked = AtomicUsize::new(0);
    Api::resolving(move |_| {
        let turn = asked.fetch_add(1, Ordering::SeqCst);
        found([answers[turn.min(answers.len() - 1)]])
    })
}

#[tokio::test]
async fn a_name_that_turns_private_is_refused_for_good() {
    let receiver = Receiver::new(|mut conn| async move {
        conn.request().await;
        conn.say("HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n")
            .await;
    });
    let trap = Receiver::at(
        &format!("127.0.0.2:{}", receiver.address.port()),
        |_| async {},
    );
    let mut api = in_turn(&["127.0.0.1", "127.0.0.2"]);

    api.send(&receiver.url()).await;
    let first = api.attempted().await;
    let not_found = Outcome::answered(StatusCode::NOT_FOUND, None);
    assert_eq!((first.outcome, first.again), (not_found, true));
    pause();
    let second = api.attempted().await;
    assert_eq!((second.outcome, second.again), (FORBIDDEN, false));
    let dead = EventKind::Dead {
        attempts: 2,
        last: FORBIDDEN,
    };
    assert_eq!(api.end().await, dead);
    assert!(trap.saw_nobody().await);
    assert_eq!(receiver.accepted(), 1);
    drop((api, receiver, trap));
    no_task_is_left().await;
}

#[tokio::test]
async fn a_connection_that_is_open_leads_where_it_did() {
    let receiver = Receiver::answering(TAKES);
    let trap = Receiver::at(
        &format!("127.0.0.2:{}", receiver.address.port()),
        |_| async {},
    );
    let mut api = in_turn(&["127.0.0.1", "127.0.0.2"]);
    for _ in 0..3 {
        api.send(&receiver.url()).await;
        assert_eq!(api.attempted().await.outcome, TAKEN);
    }
    assert_eq!(receiver.accepted(), 1);
    assert!(trap.saw_nobody().await);
}
