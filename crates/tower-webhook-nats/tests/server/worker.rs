//! A process that has leased deliveries is killed.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tower_webhook::outbox::{Outbox, Want};

use crate::{
    scene::{fetch, ids, leases, put},
    support::{fresh_name, open, server::Server},
};

const ADDRESS: &str = "TOWER_WEBHOOK_TEST_ADDRESS";
const NAME: &str = "TOWER_WEBHOOK_TEST_NAME";
const LEASE: Duration = Duration::from_secs(3);
const DELIVERIES: usize = 20;

/// Not a test by itself: the process that is killed. It leases, and renews for as long as it lives.
#[tokio::test]
async fn child() {
    let (Ok(address), Ok(name)) = (env::var(ADDRESS), env::var(NAME)) else {
        return;
    };
    let outbox = open(&address, &name, LEASE).await;
    let leased = leases(&fetch(&outbox, DELIVERIES).await);
    loop {
        outbox.renew(leased.clone()).await.unwrap();
        println!("\nrenewed");
        tokio::time::sleep(LEASE / 3).await;
    }
}

struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn what_a_killed_process_had_leased_comes_after_the_lease() {
    let Some(server) = Server::start() else {
        return;
    };
    let (address, name) = (server.address(), fresh_name());
    let outbox = open(&address, &name, LEASE).await;
    let all = put(&outbox, DELIVERIES, "a.example").await;
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "worker::child", "--nocapture"])
        .env(ADDRESS, &address)
        .env(NAME, &name)
        .stdout(Stdio::piped())
        .spawn();
    let mut worker = Worker(child.unwrap());
    let lines = BufReader::new(worker.0.stdout.take().unwrap()).lines();
    let mut renewals = lines.filter(|line| line.as_ref().unwrap() == "renewed");
    // For longer than a lease, in which nobody else gets anything.
    for _ in 0..5 {
        renewals.next().expect("it renews").unwrap();
        let due = outbox.fetch(Want::up_to(100)).await.unwrap();
        assert_eq!(due.deliveries.len(), 0);
    }
    worker.0.kill().unwrap();
    let began = Instant::now();
    let found = fetch(&outbox, DELIVERIES).await;
    assert_eq!(ids(&found), all);
    assert!(found.iter().all(|one| one.attempt == 1));
    println!("they come {:.1?} after the kill", began.elapsed());
    assert!(began.elapsed() < 20 * LEASE);
}
