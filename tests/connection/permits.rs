//! Who may have an address that is not public.

use tower_webhook::{EndpointPolicy, event::Outcome};

use crate::{
    FORBIDDEN, TAKEN, TAKES,
    hostile::{Api, Receiver, Stub, found},
};

/// What comes of an attempt at this host, which has this address.
async fn attempt(
    policy: EndpointPolicy,
    receiver: &Receiver,
    host: &str,
    address: &'static str,
) -> Outcome {
    let mut api = Api::with(|builder| {
        builder
            .with_endpoint_policy(policy)
            .with_resolver(Stub(move |_: &str| found([address])))
    });
    api.attempt(&receiver.url_at(host)).await.outcome
}

#[tokio::test]
async fn a_permitted_host_is_reached_where_it_is() {
    for (permitted, host) in [
        ("*.internal", "billing.internal"),
        ("localhost", "localhost"),
        ("intranet", "Intranet."),
    ] {
        let receiver = Receiver::answering(TAKES);
        let policy = EndpointPolicy::public()
            .with_permitted_host(permitted)
            .unwrap();
        let outcome = attempt(policy, &receiver, host, "127.0.0.1").await;
        assert_eq!(outcome, TAKEN, "{host}");
        assert_eq!(receiver.requests().len(), 1);
    }
}

#[tokio::test]
async fn nobody_else_is() {
    let receiver = Receiver::answering(TAKES);
    let policy = EndpointPolicy::public()
        .with_insecure_http()
        .with_permitted_host("*.internal")
        .unwrap();
    for host in ["evil.example.com", "a.internal.example.com"] {
        let outcome = attempt(policy.clone(), &receiver, host, "127.0.0.1").await;
        assert_eq!(outcome, FORBIDDEN, "{host}");
    }
    let metadata = attempt(
        policy.clone(),
        &receiver,
        "metadata.google.internal",
        "169.254.169.254",
    );
    assert_eq!(metadata.await, FORBIDDEN);
    let denied = policy.with_denied_network("127.0.0.0/8").unwrap();
    let outcome = attempt(denied, &receiver, "billing.internal", "127.0.0.1").await;
    assert_eq!(outcome, FORBIDDEN);
    assert!(receiver.saw_nobody().await);
}

#[tokio::test]
async fn a_permitted_network_is_reached_by_any_name() {
    let receiver = Receiver::answering(TAKES);
    let policy = EndpointPolicy::public()
        .with_permitted_network("127.0.0.0/8")
        .unwrap();
    let by_address = attempt(policy.clone(), &receiver, "127.0.0.1", "0.0.0.0");
    assert_eq!(by_address.await, TAKEN);
    let policy = policy.with_insecure_http();
    let by_name = attempt(policy, &receiver, "hooks.example.com", "127.0.0.1");
    assert_eq!(by_name.await, TAKEN);
}
