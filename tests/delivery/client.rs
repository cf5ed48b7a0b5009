//! A client of one's own in place of the crate's.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty};
use tokio::{sync::mpsc, time::Instant};
use tower::service_fn;
use tower_webhook::{
    BoxError, EventKind, Payload, RetryPolicy,
    dispatch::DispatcherBuilder,
    event::{AttemptError, Outcome},
};

use crate::{
    call::{asking, call, deliver},
    support::rig::Rig,
};

const URL: &str = "https://receiver.example.com/hook?token=1";

type Answer = Result<Response<Empty<Bytes>>, BoxError>;

fn answer(status: u16) -> Answer {
    let mut response = Response::new(Empty::new());
    *response.status_mut() = StatusCode::from_u16(status)?;
    Ok(response)
}

/// How one delivery ends with this client, on a clock that goes on when nothing else does.
async fn end_with(configure: impl FnOnce(DispatcherBuilder) -> DispatcherBuilder) -> EventKind {
    let mut rig = Rig::with(configure).await;
    deliver(&rig, URL).await;
    rig.only_end().await
}

fn dead(error: AttemptError) -> EventKind {
    EventKind::Dead {
        attempts: 3,
        last: Outcome::Failed(error),
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_given_the_whole_signed_request() {
    let (note, mut noted) = mpsc::unbounded_channel();
    let client = service_fn(move |request: Request<Payload>| {
        let note = note.clone();
        async move {
            let (head, payload) = request.into_parts();
            note.send((head, payload.collect().await?.to_bytes()))?;
            answer(204)
        }
    });
    let end = end_with(|builder| builder.with_client(client)).await;
    assert_eq!(end, EventKind::Delivered { attempts: 1 });
    let (head, payload) = noted.recv().await.unwrap();
    assert_eq!(
        (head.uri.to_string().as_str(), &*payload),
        (URL, &b"done"[..])
    );
    assert_eq!(head.headers["content-length"], "4");
}

#[tokio::test(start_paused = true)]
async fn it_is_asked_three_times_at_most() {
    let asked = Arc::new(AtomicU32::new(0));
    for (succeeds_at, end) in [
        (2, EventKind::Delivered { attempts: 2 }),
        (9, dead(AttemptError::Client)),
    ] {
        asked.store(0, Ordering::Relaxed);
        let counter = Arc::clone(&asked);
        let client = service_fn(move |_: Request<Payload>| {
            let nth = counter.fetch_add(1, Ordering::Relaxed) + 1;
            let answer = match nth == succeeds_at {
                true => answer(200),
                false => Err("my own error".into()),
            };
            std::future::ready(answer)
        });
        assert_eq!(end_with(|builder| builder.with_client(client)).await, end);
        assert_eq!(asked.load(Ordering::Relaxed), succeeds_at.min(3));
    }
}

#[tokio::test(start_paused = true)]
async fn its_errors_are_told_apart() {
    let lost = service_fn(
        async |_: Request<Payload>| -> Result<Response<Empty<Bytes>>, io::Error> {
            Err(io::ErrorKind::ConnectionReset.into())
        },
    );
    let end = end_with(|builder| builder.with_client(lost)).await;
    assert_eq!(end, dead(AttemptError::ConnectionLost));

    let panicking = service_fn(async |_: Request<Payload>| -> Answer { panic!("on purpose") });
    let end = end_with(|builder| builder.with_client(panicking)).await;
    assert_eq!(end, dead(AttemptError::Panicked));

    let panicking_at_once =
        service_fn(|_: Request<Payload>| -> std::future::Ready<Answer> { panic!("on purpose") });
    let end = end_with(|builder| builder.with_client(panicking_at_once)).await;
    assert_eq!(end, dead(AttemptError::Panicked));
}

/// A body of its own, whose head was complete before.
#[derive(Clone, Copy)]
enum Broken {
    Fails,
    Stalls,
    Panics,
    NeverEnds,
}

impl Body for Broken {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match *self {
            Self::Fails => Poll::Ready(Some(Err("broken off".into()))),
            Self::Stalls => Poll::Pending,
            Self::Panics => panic!("on purpose"),
            Self::NeverEnds => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"more"))))),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn its_status_decides_whatever_its_body_does() {
    for body in [
        Broken::Fails,
        Broken::Stalls,
        Broken::Panics,
        Broken::NeverEnds,
    ] {
        let client = service_fn(move |_: Request<Payload>| {
            std::future::ready(Ok::<_, BoxError>(Response::new(body)))
        });
        let started = Instant::now();
        let end = end_with(|builder| builder.with_client(client)).await;
        assert_eq!(end, EventKind::Delivered { attempts: 1 });
        assert!(started.elapsed() < Duration::from_secs(3));
    }
}

#[tokio::test(start_paused = true)]
async fn the_attempts_time_is_not_its_business() {
    let stalling = service_fn(|_: Request<Payload>| std::future::pending::<Answer>());
    let started = Instant::now();
    let end = end_with(|builder| {
        builder
            .with_client(stalling)
            .with_attempt_timeout(Duration::from_secs(3))
    })
    .await;
    assert_eq!(end, dead(AttemptError::TimedOut));
    let most = Duration::from_millis(3 * 3_000 + 2_500 + 5_000 + 100);
    assert!(started.elapsed() <= most, "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn delays_are_kept_and_with_a_seed_repeated() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let client = service_fn(|_: Request<Payload>| std::future::ready(answer(404)));
        let mut rig = Rig::with(|builder| {
            let retry = RetryPolicy::cerebrium().with_jitter_seed(7);
            builder.with_client(client).with_retry_policy(retry)
        })
        .await;
        let request = asking(URL).header("x-request-id", "run-1");
        call(rig.layer(), request, Response::default()).await;
        let (mut delays, mut due) = (Vec::new(), Duration::ZERO);
        let started = Instant::now();
        for _ in 1..=3 {
            let (event, _) = rig.events.attempted().await;
            // Tokio's clock ticks in milliseconds.
            let late = started
                .elapsed()
                .checked_sub(due)
                .expect("not before its time");
            assert!(late <= Duration::from_millis(5), "{late:?}");
            if let EventKind::Attempted {
                again_in: Some(delay),
                ..
            } = event.kind()
            {
                due = started.elapsed() + *delay;
                delays.push(*delay);
            }
        }
        runs.push(delays);
    }
    assert_eq!(runs[0].len(), 2);
    assert_eq!(runs[0], runs[1]);
}
