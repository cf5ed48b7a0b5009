//! The retry rule, over every status that a receiver can answer with.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use axum::body::Body;
use http::{Response, StatusCode};
use tower_webhook::{EventKind, event::Outcome};

use crate::{
    call::{asking, call},
    support::{BACKSTOP, clock::Clock, receiver::Receiver, rig::Rig},
};

fn attempts_at(status: u16) -> u32 {
    match status {
        200..=299 => 1,
        404 | 300..=399 | 600.. => 3,
        _ => 1,
    }
}

#[tokio::test]
async fn every_status() {
    let clock = Clock::stop();
    let answering = Receiver::answering(|received| {
        let status = received.uri.path().trim_start_matches('/').parse().unwrap();
        StatusCode::from_u16(status).unwrap()
    });
    let mut rig = Rig::towards(answering.await, |builder| {
        builder
            .with_max_outstanding(1_000)
            .with_max_outstanding_per_host(1_000)
            .with_body_limit(1_024)
            .with_attempt_timeout(Duration::from_secs(3_600))
    });
    let statuses: Vec<u16> = (200..=599).chain([600, 700, 999]).collect();
    for status in &statuses {
        let url = rig.receiver.url(&format!("/{status}"));
        let request = asking(&url).header("x-request-id", status.to_string());
        call(rig.layer(), request, Response::new(Body::from("x"))).await;
    }
    let mut left: HashSet<u16> = statuses.iter().copied().collect();
    for attempt in 1..=3 {
        let mut again = HashSet::new();
        for _ in 0..left.len() {
            let (event, will_be_tried_again) = rig.events.attempted().await;
            let status = event.request_id().unwrap().as_str().parse().unwrap();
            assert!(left.contains(&status), "{status} in round {attempt}");
            let EventKind::Attempted {
                attempt: nth,
                outcome,
                again_in,
                ..
            } = event.kind()
            else {
                unreachable!("asked for");
            };
            assert_eq!(*nth, attempt);
            let Outcome::Answered {
                status: answered, ..
            } = outcome
            else {
                panic!("{status}: {outcome:?}");
            };
            assert_eq!(answered.as_u16(), status);
            assert!(again_in.unwrap_or_default() <= Duration::from_secs(5));
            assert_eq!(
                will_be_tried_again,
                attempt < attempts_at(status),
                "{status}"
            );
            again.extend(will_be_tried_again.then_some(status));
        }
        left = again;
        clock.to_the_next_attempt().await;
    }
    assert!(left.is_empty());
    rig.dispatcher.shutdown(BACKSTOP).await;

    let mut received = BTreeMap::<u16, Vec<String>>::new();
    for webhook in rig.receiver.rest() {
        let status = webhook.header("x-request-id").parse().unwrap();
        let attempt = webhook.header("x-webhook-attempt").to_owned();
        received.entry(status).or_default().push(attempt);
    }
    for status in statuses.iter().copied() {
        let expected: Vec<_> = (1..=attempts_at(status))
            .map(|nth| nth.to_string())
            .collect();
        assert_eq!(received[&status], expected, "{status}");
    }
    rig.expect_no_more(statuses.len() as u64).await;
    let counts = rig.dispatcher.counts();
    assert_eq!(
        (counts.delivered, counts.dead),
        (100, statuses.len() as u64 - 100)
    );
}

#[tokio::test]
async fn a_404_that_turns_into_a_200() {
    let clock = Clock::stop();
    let third = |received: &crate::support::receiver::Received| match received
        .header("x-webhook-attempt")
    {
        "3" => StatusCode::OK,
        _ => StatusCode::NOT_FOUND,
    };
    let mut rig = Rig::towards(Receiver::answering(third).await, |builder| builder);
    crate::call::deliver(&rig, &rig.receiver.url("/")).await;
    while rig.events.attempted().await.1 {
        clock.to_the_next_attempt().await;
    }
    assert_eq!(rig.only_end().await, EventKind::Delivered { attempts: 3 });
}
