//! Addresses in a URL, in every spelling.

use tower_webhook::EndpointPolicy;

use crate::{
    TAKEN, TAKES,
    hostile::{Api, Receiver, Stub, header, policy},
};

/// Each is 127.0.0.1.
const SPELLINGS: [&str; 12] = [
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "0x7f.1",
    "0x7F000001",
    "0x7f.0x0.0x0.0x1",
    "2130706433",
    "017700000001",
    "0177.0.0.01",
    "①②⑦.⓪.⓪.①",
    "%31%32%37.0.0.1",
];

/// Names of this host, and addresses that stand for it.
const OTHERS: [&str; 12] = [
    "localhost",
    "LOCALHOST.",
    "a.localhost",
    "[::1]",
    "[::]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "0",
    "0.0.0.0",
];

fn unasked(policy: EndpointPolicy) -> Api {
    Api::with(|builder| {
        builder
            .with_endpoint_policy(policy)
            .with_resolver(Stub(|name: &str| panic!("asked for {name}")))
    })
}

#[tokio::test]
async fn loopback_is_refused_however_it_is_spelled() {
    let receiver = Receiver::answering(TAKES);
    let api = unasked(EndpointPolicy::public().with_insecure_http());
    for host in SPELLINGS.into_iter().chain(OTHERS) {
        let response = api.call(&receiver.url_at(host), "done").await;
        assert_eq!(response.status(), 400, "{host}");
    }
    assert!(receiver.saw_nobody().await);
}

#[tokio::test]
async fn an_allowed_address_does_not_let_in_those_that_carry_it() {
    let receiver = Receiver::answering(TAKES);
    let api = unasked(policy());
    for host in OTHERS {
        let response = api.call(&receiver.url_at(host), "done").await;
        assert_eq!(response.status(), 400, "{host}");
    }
    assert!(receiver.saw_nobody().await);
}

#[tokio::test]
async fn an_allowed_address_is_dialled_as_it_was_read() {
    for host in SPELLINGS {
        let receiver = Receiver::answering(TAKES);
        let mut api = unasked(policy());
        let attempted = api.attempt(&receiver.url_at(host)).await;
        assert_eq!(attempted.outcome, TAKEN, "{host}");
        let expected = format!("127.0.0.1:{}", receiver.address.port());
        let head = &receiver.requests()[0].head;
        assert_eq!(header(head, "host"), Some(&*expected), "{host}");
    }
}
