//! A primary that dies under load, and a standby that takes its place.

use tokio::time::timeout;

use crate::{
    engine::{Engine, postgres_url},
    fleet::{Fleet, Front},
    postgres_support::server::Server,
    record::{LONG, Load},
};

/// With a synchronous standby nothing that was acknowledged is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_to_a_synchronous_standby_loses_nothing() {
    let Some(mut primary) = Server::start(&["listen_addresses=127.0.0.1"]) else {
        return;
    };
    let standby = primary.standby();
    let sql = primary.sql().await;
    let until_one_is = async |what: &str| {
        let query = format!("SELECT count(*) FROM pg_stat_replication WHERE {what}");
        let is_one = async {
            while sql.query_one(&query, &[]).await.unwrap().get::<_, i64>(0) == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(LONG, is_one).await.expect(what);
    };
    // Before there is one to wait for, everything would wait.
    until_one_is("state = 'streaming'").await;
    for setting in [
        "ALTER SYSTEM SET synchronous_standby_names = '*'",
        "SELECT pg_reload_conf()",
    ] {
        sql.batch_execute(setting).await.unwrap();
    }
    until_one_is("sync_state = 'sync'").await;
    drop(sql);

    let at = format!("127.0.0.1:{},127.0.0.1:{}", primary.port(), standby.port());
    let fleet = Fleet::at(
        Engine::Postgres(standby),
        postgres_url(&at),
        Front::Server,
        Vec::new(),
    )
    .await;
    let mut load = Load::on(&fleet.proxies()).await;
    load.record.more_answers(500).await;
    primary.kill();
    fleet.engine.promote();
    load.record.more_answers(500).await;
    load.end().await;
    load.expect_all("a failover");
}
