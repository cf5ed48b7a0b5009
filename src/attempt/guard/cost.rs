//! The cost of the guard and the capped socket, compared with hyper-util's plain connector, both
//! under hyper's connections.

use std::{convert::Infallible, thread, time::Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::http1,
    rt::{Read, Write},
    server,
    service::service_fn,
};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use tokio::{net::TcpListener, runtime::Builder};
use tower::ServiceExt;

use super::*;
use crate::attempt::{capped::Reception, system_resolver::SystemResolver};

const PAYLOAD: Bytes = Bytes::from_static(&[b'x'; 1 << 10]);
const ROUNDS: usize = 61;

/// A receiver on loopback, on a thread of its own.
fn receiver() -> Uri {
    let (say, said) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            say.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                tcp.set_nodelay(true).unwrap();
                let take = service_fn(|request: Request<Incoming>| async {
                    let _ = request.into_body().collect().await;
                    Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
                });
                let serving = server::conn::http1::Builder::new();
                tokio::spawn(serving.serve_connection(TokioIo::new(tcp), take));
            }
        });
    });
    let address = said.recv().unwrap();
    format!("http://{address}/").parse().unwrap()
}

/// Sends this number of deliveries over one connection, one after another.
async fn deliver<S>(stream: S, number: usize, begin: impl Fn())
where
    S: Read + Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake::<_, Full<Bytes>>(stream).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..number {
        begin();
        let request = Request::post("/")
            .header("host", "receiver")
            .body(PAYLOAD.into());
        let answer = sender.send_request(request.unwrap()).await.unwrap();
        answer.into_body().collect().await.unwrap();
    }
}

fn heard(stream: &impl Connection) -> Reception {
    let mut extras = http::Extensions::new();
    let connected: Connected = stream.connected();
    connected.get_extras(&mut extras);
    extras.remove().unwrap()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// `cargo test --release --lib guard::cost -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, for a quiet machine and the release profile"]
fn beside_a_plain_connector() {
    let endpoint = receiver();
    let policy = EndpointPolicy::public().with_insecure_private_networks();
    let resolver = Arc::new(SystemResolver::new(64));
    let guard = Guard::new(
        JudgingResolver::new(resolver, policy.clone(), 1),
        policy,
        Duration::from_secs(15),
        SocketShares::of(64),
        4,
    );
    let mut plain = HttpConnector::new();
    plain.set_nodelay(true);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    for (what, number, connections) in [("kept open", 1_000, 1), ("opened anew", 1, 200)] {
        let mut ratios = Vec::new();
        for round in 0..ROUNDS {
            let mut rates = [0.0; 2];
            let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for side in order {
                let started = Instant::now();
                for _ in 0..connections {
                    let endpoint = endpoint.clone();
                    runtime.block_on(async {
                        if side == 0 {
                            let stream = guard.clone().connect(endpoint).await.unwrap();
                            let heard = heard(&stream);
                            deliver(stream, number, || heard.begin_anew()).await;
                        } else {
                            let stream = plain.clone().oneshot(endpoint).await.unwrap();
                            deliver(stream, number, || ()).await;
                        }
                    });
                }
                let deliveries = (number * connections) as f64;
                rates[side] = deliveries / started.elapsed().as_secs_f64();
            }
            ratios.push(rates[0] / rates[1]);
        }
        println!(
            "connections {what}: {:.3} of the plain connector's rate",
            median(ratios)
        );
    }
}
