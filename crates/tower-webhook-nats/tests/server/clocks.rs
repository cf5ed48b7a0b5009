//! Processes whose clocks differ: what is due is so by the server's.

use std::{
    env,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tower_webhook::outbox::{Outbox, Verdict};

use crate::{
    scene::{PATIENCE, fetch, leases, put, settle},
    support::{faketime, fresh_name, open, server::Server},
};

const ADDRESS: &str = "TOWER_WEBHOOK_TEST_ADDRESS";
const NAME: &str = "TOWER_WEBHOOK_TEST_NAME";
const LEASE: Duration = Duration::from_secs(20);
const DELAY: Duration = Duration::from_secs(1);

/// Not a test by itself: a process with a clock of its own. It fetches one, and puts it off.
#[tokio::test]
async fn wrong_child() {
    let (Ok(address), Ok(name)) = (env::var(ADDRESS), env::var(NAME)) else {
        return;
    };
    put_off(&address, &name).await;
}

/// The number of the attempt that was put off.
async fn put_off(address: &str, name: &str) -> u32 {
    let outbox = open(address, name, LEASE).await;
    let due = fetch(&outbox, 1).await;
    settle(&outbox, &leases(&due), Verdict::AgainIn(DELAY)).await;
    outbox.close().await.unwrap();
    due[0].attempt
}

async fn instances_take_turns(off_by: &str) {
    let Some(environment) = faketime::environment(off_by) else {
        return;
    };
    let Some(server) = Server::start() else {
        return;
    };
    let (address, name) = (server.address(), fresh_name());
    let outbox = open(&address, &name, LEASE).await;
    put(&outbox, 1, "a.example").await;
    outbox.close().await.unwrap();
    let began = Instant::now();
    for attempt in [1, 3] {
        assert_eq!(put_off(&address, &name).await, attempt);
        let wrong = Command::new(env::current_exe().unwrap())
            .args(["--exact", "clocks::wrong_child"])
            .env(ADDRESS, &address)
            .env(NAME, &name)
            .envs(environment.clone())
            .stdout(Stdio::null())
            .status();
        assert!(wrong.unwrap().success());
    }
    assert_eq!(put_off(&address, &name).await, 5);
    assert!(began.elapsed() >= 4 * DELAY, "some came too early");
    assert!(began.elapsed() < PATIENCE, "some came too late");
}

#[tokio::test]
async fn one_instance_is_an_hour_behind() {
    instances_take_turns("-1h").await;
}

#[tokio::test]
async fn one_instance_is_an_hour_ahead() {
    instances_take_turns("+1h").await;
}
