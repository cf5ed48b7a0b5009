//! A connection that hangs: nobody reads at its other end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower_webhook::outbox::{NewDelivery, Outbox, SettleOutcome, Settlement, Verdict, Want};
use tower_webhook_nats::{JetStreamOutboxError, JetStreamOutboxErrorKind};

use crate::{
    scene::{PATIENCE, fetch, put, put_leased, stored},
    support::{builder, fresh_name, open, server::Server},
};

/// Carries everything to the server and back, until it is told to hang.
struct Proxy {
    address: String,
    hangs: Arc<AtomicBool>,
    /// Whether it carries nothing back from the first message on that is handed back.
    hangs_at_nak: Arc<AtomicBool>,
}

impl Proxy {
    async fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("nats://{}", listener.local_addr().unwrap());
        let hangs = Arc::new(AtomicBool::new(false));
        let hangs_at_nak = Arc::new(AtomicBool::new(false));
        let (is_hanging, at_nak) = (Arc::clone(&hangs), Arc::clone(&hangs_at_nak));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else {
                    continue;
                };
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                // Each connection becomes deaf by itself.
                let is_deaf = Arc::new(AtomicBool::new(false));
                let deafens = (Arc::clone(&at_nak), Arc::clone(&is_deaf));
                tokio::spawn(carry(
                    near_read,
                    far_write,
                    Arc::clone(&is_hanging),
                    move |sent| {
                        if deafens.0.load(Ordering::SeqCst) && holds(sent, b"-NAK") {
                            deafens.1.store(true, Ordering::SeqCst);
                        }
                        false
                    },
                ));
                tokio::spawn(carry(
                    far_read,
                    near_write,
                    Arc::clone(&is_hanging),
                    move |_| is_deaf.load(Ordering::SeqCst),
                ));
            }
        });
        Self {
            address,
            hangs,
            hangs_at_nak,
        }
    }
}

/// What has hung once does so for ever: a connection that is opened later may work.
async fn carry(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    hangs: Arc<AtomicBool>,
    stops_at: impl Fn(&[u8]) -> bool,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(number @ 1..) = from.read(&mut buffer).await {
        if hangs.load(Ordering::SeqCst) || stops_at(&buffer[..number]) {
            std::future::pending::<()>().await;
        }
        if to.write_all(&buffer[..number]).await.is_err() {
            return;
        }
    }
}

fn holds(sent: &[u8], word: &[u8]) -> bool {
    sent.windows(word.len()).any(|part| part == word)
}

fn kind_of(error: tower_webhook::BoxError) -> JetStreamOutboxErrorKind {
    let error = error.downcast::<JetStreamOutboxError>().unwrap();
    error.kind()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_fails_in_time_and_works_once_it_is_over() {
    let Some(server) = Server::start() else {
        return;
    };
    let proxy = Proxy::start(server.port()).await;
    let outbox = builder(&proxy.address, &fresh_name())
        .with_timeout(Duration::from_secs(2))
        .connect()
        .await
        .unwrap();
    put(&outbox, 1, "a.example").await;
    proxy.hangs.store(true, Ordering::SeqCst);
    let began = Instant::now();
    let new = NewDelivery::new(stored("a.example", "done"), true);
    let inserted = outbox.insert(vec![new]).await;
    assert_eq!(
        kind_of(inserted.unwrap_err()),
        JetStreamOutboxErrorKind::TimedOut
    );
    let fetched = outbox.fetch(Want::up_to(1)).await;
    assert_eq!(
        kind_of(fetched.unwrap_err()),
        JetStreamOutboxErrorKind::TimedOut
    );
    // It asks the server whether it is there every 5 s, and a call takes 2 s: far below the bound.
    assert!(began.elapsed() < PATIENCE);
    proxy.hangs.store(false, Ordering::SeqCst);
    // The connection is found to be dead, and opened anew.
    let began = Instant::now();
    loop {
        let new = NewDelivery::new(stored("a.example", "done"), false);
        if outbox.insert(vec![new]).await.is_ok() {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "it does not connect anew");
    }
    fetch(&outbox, 2).await;
}

/// Sent once more, it would take the message from whoever has it by then.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_back_without_an_answer_is_settled() {
    let Some(server) = Server::start() else {
        return;
    };
    let lease = Duration::from_secs(60);
    let again_at_once = Verdict::AgainIn(Duration::ZERO);
    for (verdict, attempt) in [(again_at_once, 2), (Verdict::Released, 1)] {
        let name = fresh_name();
        let proxy = Proxy::start(server.port()).await;
        let outbox = builder(&proxy.address, &name).with_lease(lease);
        let outbox = outbox.connect().await.unwrap();
        let leased = put_leased(&outbox, "a.example").await;
        proxy.hangs_at_nak.store(true, Ordering::SeqCst);
        let settled = outbox.settle(vec![Settlement::new(leased, verdict, None)]);
        let settled = settled.await.unwrap();
        assert_eq!(settled, [SettleOutcome::Done]);
        let other = open(&server.address(), &name, lease).await;
        assert_eq!(fetch(&other, 1).await[0].attempt, attempt);
    }
}
