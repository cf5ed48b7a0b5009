//! Nobody holds room for ever by leaving.

use std::time::Duration;

use http::Method;
use tower_webhook::event::FailReason;

use crate::{
    endless::{endless, leave},
    support::{
        caller::{BOTH, Caller, next_text},
        rig::Rig,
        server::serve,
        soon,
    },
};

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
