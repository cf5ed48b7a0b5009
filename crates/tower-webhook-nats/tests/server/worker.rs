//! A process that has leased deliveries is killed.

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
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

/// Not a test by itself: the process that is stopped. It has pulled all, and leased one.
#[tokio::test]
async fn idle_child() {
    let (Ok(address), Ok(name)) = (env::var(ADDRESS), env::var(NAME)) else {
        return;
    };
    let outbox = open(&address, &name, LEASE).await;
    let mut want = Want::up_to(DELIVERIES);
    want.of_other_hosts = 1;
    while outbox
        .fetch(want.clone())
        .await
        .unwrap()
        .deliveries
        .is_empty()
    {}
    println!("\npulled");
    // The one that stops it writes a line, once it goes on.
    io::stdin().read_line(&mut String::new()).unwrap();
    outbox.close().await.unwrap();
}

struct Worker(Child);

impl Worker {
    fn start(test: &str, address: &str, name: &str) -> Self {
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(ADDRESS, address)
            .env(NAME, name)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    /// Each time it says this word.
    fn says(&mut self, word: &'static str) -> impl Iterator<Item = io::Result<String>> + use<> {
        let lines = BufReader::new(self.0.stdout.take().unwrap()).lines();
        lines.filter(move |line| line.as_ref().unwrap() == word)
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.0.id());
        let sent = Command::new("sh").args(["-c", &kill]).status();
        assert!(sent.unwrap().success());
    }
}

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
    let mut worker = Worker::start("worker::child", &address, &name);
    let mut renewals = worker.says("renewed");
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

/// A machine that sleeps, a container that is frozen: what it had pulled is somebody else's by now.
#[tokio::test]
async fn a_process_that_stood_still_hands_nothing_back_that_another_one_has() {
    let Some(server) = Server::start() else {
        return;
    };
    let (address, name) = (server.address(), fresh_name());
    let outbox = open(&address, &name, LEASE).await;
    let all = put(&outbox, DELIVERIES, "a.example").await;
    let mut worker = Worker::start("worker::idle_child", &address, &name);
    let mut stdin = worker.0.stdin.take().unwrap();
    let mut lines = worker.says("pulled");
    lines.next().expect("it pulls").unwrap();
    worker.signal("STOP");
    let found = fetch(&outbox, DELIVERIES).await;
    assert_eq!(ids(&found), all);
    worker.signal("CONT");
    stdin.write_all(b"\n").unwrap();
    worker.0.wait().unwrap();
    outbox.renew(leases(&found)).await.unwrap();
    let due = outbox.fetch(Want::up_to(100)).await.unwrap();
    assert_eq!(due.deliveries.len(), 0);
}
