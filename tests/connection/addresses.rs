//! What may come of a look-up.

use std::{net::SocketAddr, time::Duration};

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tower_webhook::event::{AttemptError, Outcome};

use crate::{
    FORBIDDEN, TAKEN, TAKES,
    hostile::{Api, Receiver, Stub, found, pause, policy, resume},
};

const SPECIAL: [&str; 16] = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.2",
    "168.63.129.16",
    "169.254.169.254",
    "192.168.0.1",
    "198.18.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.2",
    "64:ff9b::7f00:2",
    "2002:7f00:2::1",
    "fd00::1",
    "fe80::1",
];

async fn attempt<A: ToString + Clone + Send + Sync + 'static>(
    receiver: &Receiver,
    addresses: Vec<A>,
) -> Outcome {
    let mut api = Api::resolving(move |_| found(addresses.clone()));
    let attempted = api.attempt(&receiver.url()).await;
    assert_eq!(
        attempted.again,
        ![TAKEN, FORBIDDEN].contains(&attempted.outcome)
    );
    attempted.outcome
}

#[tokio::test]
async fn a_special_address_is_refused() {
    let receiver = Receiver::answering(TAKES);
    for special in SPECIAL {
        assert_eq!(
            attempt(&receiver, vec![special]).await,
            FORBIDDEN,
            "{special}"
        );
    }
    assert!(receiver.saw_nobody().await);
}

#[tokio::test]
async fn one_special_address_refuses_the_name() {
    let receiver = Receiver::answering(TAKES);
    for special in SPECIAL {
        for addresses in [
            vec!["127.0.0.1", special],
            vec![special, "127.0.0.1"],
            // Refused although it would not be tried.
            [vec!["127.0.0.1"; 20], vec![special]].concat(),
        ] {
            assert_eq!(attempt(&receiver, addresses).await, FORBIDDEN, "{special}");
        }
    }
    assert!(receiver.saw_nobody().await);
}

#[tokio::test]
async fn no_address_is_a_failure() {
    let receiver = Receiver::answering(TAKES);
    let unresolved = Outcome::Failed(AttemptError::Resolve);
    assert_eq!(attempt::<&str>(&receiver, vec![]).await, unresolved);

    let mut api = Api::resolving(|_| Box::pin(async { Err(std::io::ErrorKind::NotFound.into()) }));
    let attempted = api.attempt(&receiver.url()).await;
    assert_eq!((attempted.outcome, attempted.again), (unresolved, true));
    assert!(receiver.saw_nobody().await);
}

#[tokio::test]
async fn a_resolver_that_panics_harms_nobody_else() {
    let receiver = Receiver::answering(TAKES);
    let mut api = Api::resolving(|name| match name {
        "receiver.example.com" => found(["127.0.0.1"]),
        _ => panic!("the resolver's own fault"),
    });
    api.send(&receiver.url_at("other.example.com")).await;
    let outcome = api.attempted().await.outcome;
    assert_eq!(outcome, Outcome::Failed(AttemptError::Panicked));
    resume();
    assert_eq!(api.attempt(&receiver.url()).await.outcome, TAKEN);
}

/// Every name is 127.0.0.2 and the addresses behind it.
fn up_to(last: u8) -> Api {
    Api::with(|builder| {
        let policy = policy().with_allowed_network("127.0.0.0/8").unwrap();
        let addresses = move |_: &str| found((2..=last).map(|at| format!("127.0.0.{at}")));
        builder
            .with_endpoint_policy(policy)
            .with_resolver(Stub(addresses))
    })
}

fn receiver_at(last: u8) -> Receiver {
    Receiver::at(&format!("127.0.0.{last}:0"), |mut conn| async move {
        conn.request().await;
        conn.say(TAKES).await;
    })
}

/// Nobody listens but a receiver at the last address.
async fn attempt_at_last_of(count: u8) -> (Outcome, Receiver) {
    let last = count + 1;
    let receiver = receiver_at(last);
    let mut api = up_to(last);
    (api.attempt(&receiver.url()).await.outcome, receiver)
}

#[tokio::test]
async fn eight_addresses_are_tried() {
    let (outcome, _) = attempt_at_last_of(8).await;
    assert_eq!(outcome, TAKEN);
}

#[tokio::test]
async fn a_ninth_address_is_not_tried() {
    let (outcome, receiver) = attempt_at_last_of(9).await;
    assert_eq!(outcome, Outcome::Failed(AttemptError::Connect));
    assert!(receiver.saw_nobody().await);
}

/// Drops what is sent to it, as it has no room for another connection.
struct Silent {
    _listener: TcpListener,
    _waits: TcpStream,
}

impl Silent {
    async fn at(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(address).unwrap();
        Self {
            // There is always room for one.
            _listener: socket.listen(0).unwrap(),
            _waits: TcpStream::connect(address).await.unwrap(),
        }
    }
}

#[tokio::test]
async fn an_address_that_is_silent_does_not_hide_the_next_one() {
    let receiver = receiver_at(3);
    let port = receiver.address.port();
    let _silent = Silent::at(([127, 0, 0, 2], port).into()).await;
    let mut api = up_to(3);
    pause();
    let attempted = api.attempt(&receiver.url()).await;
    assert_eq!(attempted.outcome, TAKEN);
    assert!(attempted.took < Duration::from_secs(5), "{attempted:?}");
}
