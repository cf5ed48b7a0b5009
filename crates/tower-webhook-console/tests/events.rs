//! What listening costs.

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use support::{GOOD, LATER, send};
use tokio::time::timeout;
use tower::service_fn;
use tower_webhook::{Dispatcher, Event, EventKind, RetryPolicy};
use tower_webhook_console::ConsoleEvents;

const PATIENCE: Duration = Duration::from_secs(60);

/// All events of a delivery that succeeds, and of one that is to be tried again.
async fn all_events() -> Vec<Event> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hear = Arc::clone(&heard);
    let dispatcher = Dispatcher::builder_with_client(service_fn(support::receive))
        .with_retry_policy(RetryPolicy::patient())
        .on_event(move |event| hear.lock().unwrap().push(event.clone()))
        .build();
    for host in [GOOD, LATER] {
        send(&dispatcher, host, "done").await;
    }
    let is_retried = |event: &Event| {
        matches!(
            event.kind(),
            EventKind::Attempted {
                again_in: Some(_),
                ..
            }
        )
    };
    let both = async {
        loop {
            let heard = heard.lock().unwrap().clone();
            if heard.iter().any(is_retried) && heard.iter().any(Event::is_final) {
                return heard;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, both).await.expect("both are heard of")
}

#[tokio::test]
async fn an_event_allocates_nothing() {
    let events = all_events().await;
    assert!(events.len() >= 7, "{events:?}");
    let console = ConsoleEvents::new();
    let subscriber = console.subscriber();
    // More than are remembered.
    let costs = allocation_counter::measure(|| {
        for _ in 0..2_000 {
            events.iter().for_each(&subscriber);
        }
    });
    assert_eq!(costs.count_total, 0);
}
