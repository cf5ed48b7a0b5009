//! Three servers, three replicas, and the leader of the stream is killed.
//!
//! ```sh
//! TOWER_WEBHOOK_NATS_CLUSTER=1 cargo test -p tower-webhook-nats --test server cluster -- --nocapture
//! ```

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use tokio::time::sleep;
use tower_webhook::outbox::{NewDelivery, Outbox, Verdict};
use tower_webhook_nats::JetStreamOutbox;

use crate::{
    scene::{PATIENCE, fetch, ids, jetstream, leases, stored},
    support::{builder, cluster::Cluster, fresh_name},
};

async fn connect(addresses: &str, name: &str) -> JetStreamOutbox {
    let began = Instant::now();
    loop {
        match builder(addresses, name).with_replicas(3).connect().await {
            Ok(outbox) => return outbox,
            Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
        }
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_with_the_leader() {
    if std::env::var_os("TOWER_WEBHOOK_NATS_CLUSTER").is_none() {
        eprintln!("SKIPPED: TOWER_WEBHOOK_NATS_CLUSTER is not set");
        return;
    }
    let Some(mut cluster) = Cluster::start() else {
        return;
    };
    let (addresses, name) = (cluster.address(), fresh_name());
    let outbox = connect(&addresses, &name).await;
    let mut taken = HashSet::new();
    let mut longest = Duration::ZERO;
    for number in 0..400 {
        if number == 200 {
            let leader = leader(&addresses, &name).await;
            cluster.kill(leader);
        }
        let began = Instant::now();
        let one = stored("a.example", "done");
        let id = one.id;
        while outbox
            .insert(vec![NewDelivery::new(one.clone(), false)])
            .await
            .is_err()
        {
            assert!(began.elapsed() < PATIENCE, "nothing is taken any more");
        }
        longest = longest.max(began.elapsed());
        taken.insert(id);
    }
    println!("the longest insert took {longest:.1?}");
    let mut missing = taken;
    while !missing.is_empty() {
        let found = fetch(&outbox, 1).await;
        missing.retain(|id| !ids(&found).contains(id));
        let began = Instant::now();
        let settlement =
            || tower_webhook::outbox::Settlement::new(leases(&found)[0], Verdict::Delivered, None);
        while outbox.settle(vec![settlement()]).await.is_err() {
            assert!(began.elapsed() < PATIENCE, "nothing is settled any more");
        }
    }
}

async fn leader(addresses: &str, name: &str) -> usize {
    let context = jetstream(addresses.split(',').next().unwrap()).await;
    let stream = context.get_stream(name).await.unwrap();
    let cluster = stream.cached_info().cluster.clone();
    let leader = cluster.and_then(|cluster| cluster.leader).unwrap();
    leader.strip_prefix("server-").unwrap().parse().unwrap()
}
