//! Nobody holds room for ever by leaving.

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body, routing::get};
use futures::{StreamExt, stream};
use http::Method;
use tokio::sync::mpsc;
use tower_webhook::event::FailReason;

use crate::support::{
    caller::{BOTH, Caller, Protocol, next_text},
    gate::{Gate, Keeper, TellDrop, gate},
    rig::Rig,
    server::{Server, serve},
    soon,
};

type Dropped = mpsc::UnboundedReceiver<()>;

/// A handler that never answers, and an event stream; both tell when they are dropped.
fn endless() -> (Router, Dropped, Keeper) {
    let (tell, dropped) = mpsc::unbounded_channel();
    let (gate, keeper) = gate();
    let at_the_gate = move |tell: mpsc::UnboundedSender<()>, gate: Gate| async move {
        let _guard = TellDrop(tell);
        gate.pass().await;
    };
    let [in_handler, in_body] = [(tell.clone(), gate.clone()), (tell, gate)];
    let handler = move || at_the_gate(in_handler.0, in_handler.1);
    let events = move || {
        let waiting = at_the_gate(in_body.0, in_body.1);
        let rest = stream::once(async move {
            waiting.await;
            Ok("2")
        });
        let first = stream::iter([Ok::<_, Infallible>("1")]);
        let body = Body::from_stream(first.chain(rest));
        async { body }
    };
    let app = Router::new()
        .route("/handler", get(handler))
        .route("/body", get(events));
    (app, dropped, keeper)
}

async fn leave(server: &mut Server, keeper: &mut Keeper, protocol: Protocol, target: &str) {
    let mut caller = Caller::connect(server.address, protocol).await;
    let answer = caller.send(caller.request(Method::GET, target));
    let mut under_way = None;
    if target.starts_with("/body") {
        let body = under_way.insert(answer.await.unwrap().into_body());
        assert_eq!(next_text(body).await, "1");
    }
    keeper.arrival().await;
    caller.leave().await;
    server.let_go.next().await;
}

#[tokio::test]
async fn what_nobody_waits_for_has_a_limit_in_time() {
    for protocol in BOTH {
        for path in ["/handler", "/body"] {
            let mut rig = Rig::new().await;
            let (app, mut dropped, mut keeper) = endless();
            let layer = rig.layer().with_run_limit(Duration::from_millis(1));
            let mut server = serve(app.layer(layer)).await;
            leave(&mut server, &mut keeper, protocol, &rig.asking(path)).await;
            soon("the end of the run", dropped.recv()).await.unwrap();
            rig.expect_failed(FailReason::TimedOut).await;
        }
    }
}

/// The time begins when the caller leaves.
#[tokio::test]
async fn whoever_waits_has_all_the_time() {
    for protocol in BOTH {
        let mut rig = Rig::new().await;
        let (app, _dropped, mut keeper) = endless();
        let layer = rig.layer().with_run_limit(Duration::ZERO);
        let server = serve(app.layer(layer)).await;
        let mut caller = Caller::connect(server.address, protocol).await;
        let answer = caller.send(caller.request(Method::GET, &rig.asking("/body")));
        let mut body = answer.await.unwrap().into_body();
        assert_eq!(next_text(&mut body).await, "1");
        keeper.arrival().await;
        keeper.open();
        assert_eq!(next_text(&mut body).await, "2");
        assert_eq!(rig.receiver.next().await.body, "12");
        rig.expect_delivered().await;
    }
}

/// 256 callers of an event stream shut a host out, 1,024 everybody.
#[tokio::test]
async fn callers_who_leave_hold_half_of_the_room() {
    const HALF: u64 = 8;
    for protocol in BOTH {
        for path in ["/handler", "/body"] {
            let mut rig = Rig::with(|builder| {
                builder
                    .with_max_outstanding(4 * HALF as usize)
                    .with_max_outstanding_per_host(2 * HALF as usize)
            })
            .await;
            let (app, mut dropped, mut keeper) = endless();
            let mut server = serve(app.layer(rig.layer())).await;
            for _ in 0..5 * HALF {
                leave(&mut server, &mut keeper, protocol, &rig.asking(path)).await;
            }
            // Handlers and bodies ended; whoever comes now finds room.
            for _ in 0..4 * HALF {
                soon("the end of a run", dropped.recv()).await.unwrap();
                let notice = rig.receiver.next().await;
                assert_eq!(notice.header("x-webhook-failure"), "no-room");
            }
            keeper.open();
            let mut caller = Caller::connect(server.address, protocol).await;
            assert_eq!(caller.get(&rig.asking(path)).await.status, 200);
            for _ in 0..=HALF {
                rig.receiver.next().await;
            }
            rig.expect_no_more(5 * HALF + 1).await;
        }
    }
}
