//! What never ends by itself, and a caller who leaves it.

use std::convert::Infallible;

use axum::{Router, body::Body, routing::get};
use futures::{StreamExt, stream};
use http::Method;
use tokio::sync::mpsc;

use crate::support::{
    caller::{Caller, Protocol, next_text},
    gate::{Gate, Keeper, TellDrop, gate},
    server::Server,
};

pub(crate) type Dropped = mpsc::UnboundedReceiver<()>;

/// A handler that never answers, and an event stream; both tell when they are dropped.
pub(crate) fn endless() -> (Router, Dropped, Keeper) {
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

/// Leaves when the request waits at the gate, in the handler or amid the body.
pub(crate) async fn leave(
    server: &mut Server,
    keeper: &mut Keeper,
    protocol: Protocol,
    target: &str,
) {
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
