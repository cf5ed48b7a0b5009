//! Several hosts in the connection string.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::net::TcpListener;
use tower_webhook::{BoxError, outbox::Outbox};
use tower_webhook_postgres::{PostgresOutbox, PostgresOutboxErrorKind as Kind};

use crate::{
    deliveries::new,
    support::{
        place::Place,
        scene::until,
        server::{self, Server},
    },
};

/// A host that accepts connections and never greets. It counts them.
async fn silent_host() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            kept.push(socket);
        }
    });
    (port, accepted)
}

async fn insert(outbox: &PostgresOutbox) -> Result<(), BoxError> {
    let one = new("a.example", "done", false);
    outbox.insert(vec![one]).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_host_that_never_greets_does_not_keep_from_the_second() {
    let Some(server) = server::shared() else {
        return;
    };
    let (port, accepted) = silent_host().await;
    let (folder, of_server) = (server.folder().display(), server.port());
    let place = Place {
        url: format!(
            "host=127.0.0.1,{folder} port={port},{of_server} user=postgres dbname=postgres
             sslmode=disable application_name=hosts"
        ),
        ..server.place()
    };
    let builder = place.builder().with_timeout(Duration::from_secs(9));
    let outbox = builder.open().await.unwrap();
    insert(&outbox).await.unwrap();
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
    // The next connections begin with the host that worked.
    let sql = server.sql().await;
    sql.batch_execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hosts'",
    )
    .await
    .unwrap();
    until(async || insert(&outbox).await.is_ok()).await;
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_hosts_one_that_takes_writes_is_used() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let standby = server.standby();
    let (first, second) = (standby.folder().display(), server.folder().display());
    let (first_port, second_port) = (standby.port(), server.port());
    let mut place = server.place();
    place.url = format!(
        "host={first},{second} port={first_port},{second_port} user=postgres dbname=postgres"
    );
    insert(&place.outbox().await).await.unwrap();
    place.url = format!("host={first},{first} port={first_port} user=postgres dbname=postgres");
    let refused = place.builder().open().await.unwrap_err();
    assert_eq!(refused.kind(), Kind::ReadOnly);
}
