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
use tower_webhook::outbox::{NewDelivery, Outbox, Want};
use tower_webhook_nats::{JetStreamOutboxError, JetStreamOutboxErrorKind};

use crate::{
    scene::{PATIENCE, fetch, put, stored},
    support::{builder, fresh_name, server::Server},
};

/// Carries everything to the server and back, until it is told to hang.
struct Proxy {
    address: String,
    hangs: Arc<AtomicBool>,
}

impl Proxy {
    async fn start(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("nats://{}", listener.local_addr().unwrap());
        let hangs = Arc::new(AtomicBool::new(false));
        let is_hanging = Arc::clone(&hangs);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else {
                    continue;
                };
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                tokio::spawn(carry(near_read, far_write, Arc::clone(&is_hanging)));
                tokio::spawn(carry(far_read, near_write, Arc::clone(&is_hanging)));
            }
        });
        Self { address, hangs }
    }
}

/// What has hung once does so for ever: a connection that is opened later may work.
async fn carry(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    hangs: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(number @ 1..) = from.read(&mut buffer).await {
        if hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if to.write_all(&buffer[..number]).await.is_err() {
            return;
        }
    }
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
