//! Commits that wait for a synchronous standby which is lost. `statement_timeout` does not end them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio_postgres::NoTls;
use tower_webhook::{BoxError, outbox::Outbox};
use tower_webhook_postgres::{
    PostgresOutbox, PostgresOutboxError, PostgresOutboxErrorKind as Kind,
};

use crate::{
    deliveries::new,
    support::{place::Place, pooler::Pooler, scene::until, server::Server},
};

async fn insert(outbox: &PostgresOutbox) -> Result<(), BoxError> {
    let one = new("a.example", "done", false);
    outbox.insert(vec![one]).await.map(drop)
}

async fn open(place: &Place) -> PostgresOutbox {
    let builder = place.builder().with_timeout(Duration::from_secs(1));
    builder.open().await.unwrap()
}

/// From now on each commit waits.
async fn lose_the_standby(server: &Server, outbox: &PostgresOutbox) {
    let sql = server.sql().await;
    let setting = "ALTER SYSTEM SET synchronous_standby_names = 'nobody'";
    sql.batch_execute(setting).await.unwrap();
    let reload = "SELECT pg_reload_conf()";
    sql.batch_execute(reload).await.unwrap();
    until(async || insert(outbox).await.is_err()).await;
}

async fn number_stuck(server: &Server) -> i64 {
    let query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let row = server.sql().await.query_one(query, &[]).await.unwrap();
    row.get(0)
}

pub(crate) async fn assert_leaves_none_behind(server: &Server, outbox: PostgresOutbox) {
    lose_the_standby(server, &outbox).await;
    for _ in 0..3 {
        let error = insert(&outbox).await.unwrap_err();
        let error = error.downcast_ref::<PostgresOutboxError>().unwrap();
        assert_eq!(error.kind(), Kind::TimedOut);
    }
    until(async || number_stuck(server).await == 0).await;
    // The same at the end of an outbox.
    assert!(insert(&outbox).await.is_err());
    drop(outbox);
    until(async || number_stuck(server).await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inserts_that_time_out_leave_no_backends_behind() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let outbox = open(&server.place()).await;
    assert_leaves_none_behind(&server, outbox).await;
}

/// Others use the same few connections to the server.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_others_is_cancelled_through_a_pooler() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let Some(pooler) = Pooler::start(&server) else {
        return;
    };
    let place = Place {
        url: pooler.url(),
        ..server.place()
    };
    let outbox = open(&place).await;
    lose_the_standby(&server, &outbox).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let others: Vec<_> = (0..4)
        .map(|_| {
            let (url, is_over) = (pooler.url(), Arc::clone(&is_over));
            tokio::spawn(async move {
                let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
                tokio::spawn(connection);
                while !is_over.load(Ordering::SeqCst) {
                    client.batch_execute("SELECT pg_sleep(0.01)").await.unwrap();
                }
            })
        })
        .collect();
    for _ in 0..3 {
        assert!(insert(&outbox).await.is_err());
    }
    is_over.store(true, Ordering::SeqCst);
    for other in others {
        other.await.unwrap();
    }
    until(async || number_stuck(&server).await == 0).await;
}
