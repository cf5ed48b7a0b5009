//! A connection that is being opened when its attempt finds another one: nobody waits for it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
    time::Instant,
};

use crate::{
    TAKEN, TAKES,
    authority::{Authority, named},
    hostile::{ATTEMPT_TIMEOUT, Api, Receiver, Stub, found, no_task_is_left, pause, policy},
};

#[tokio::test]
async fn a_handshake_that_stalls_ends_without_an_attempt() {
    let authority = Authority::new();
    let tls = authority.certify(&named("receiver.example.com"));
    let answers = Arc::new(Notify::new());
    let may_answer = Arc::clone(&answers);
    let mut receiver = Receiver::new(move |mut conn| {
        let (tls, may_answer) = (tls.clone(), Arc::clone(&may_answer));
        async move {
            let (stages, tcp) = conn.split();
            let mut tls = tls.accept(tcp).await.unwrap();
            for _ in 0..2 {
                let mut request = Vec::new();
                while !request.ends_with(b"done") {
                    assert_ne!(tls.read_buf(&mut request).await.unwrap(), 0);
                }
                stages.here();
                may_answer.notified().await;
                tls.write_all(TAKES.as_bytes()).await.unwrap();
            }
            let _ = tls.read(&mut [0]).await;
        }
    });
    let stalling = format!("127.0.0.2:{}", receiver.address.port());
    let mut stalling = Receiver::at(&stalling, |mut conn| async move {
        conn.here();
        conn.closed().await;
    });

    let lookups = AtomicUsize::new(0);
    let mut api = Api::with(|builder| {
        let policy = policy().with_allowed_network("127.0.0.0/8").unwrap();
        let resolver = Stub(
            move |_: &str| match lookups.fetch_add(1, Ordering::SeqCst) {
                0 => found(["127.0.0.1"]),
                _ => found(["127.0.0.2"]),
            },
        );
        builder
            .with_endpoint_policy(policy)
            .with_resolver(resolver)
            .with_root_certificates(authority.pem().as_bytes())
            .unwrap()
    });
    api.send(&receiver.https()).await;
    receiver.reached().await;
    api.send(&receiver.https()).await;
    stalling.reached().await;
    answers.notify_one();
    assert_eq!(api.attempted().await.outcome, TAKEN);
    receiver.reached().await;
    answers.notify_one();
    assert_eq!(api.attempted().await.outcome, TAKEN);
    assert_eq!((receiver.accepted(), stalling.open()), (1, 1));

    pause();
    let alone = Instant::now();
    stalling.over().await;
    assert!(alone.elapsed() <= ATTEMPT_TIMEOUT);
    drop((api, receiver, stalling));
    no_task_is_left().await;
}
