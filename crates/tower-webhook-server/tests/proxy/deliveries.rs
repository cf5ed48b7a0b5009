//! `tower-webhook deliveries`, beside a proxy that has the same outbox open.

use serde_json::Value;

use crate::{
    BINARY,
    process::Process,
    scene::{Folder, Receiver, until_in_file},
    sqlite::{Proxy, outbox, upstream},
    worker::Worker,
};

pub(crate) struct Scene {
    pub(crate) folder: Folder,
    pub(crate) outbox: String,
    pub(crate) receiver: Receiver,
}

/// What a command says, and whether it succeeded.
pub(crate) struct Said {
    pub(crate) out: String,
    pub(crate) error: String,
    pub(crate) success: bool,
}

impl Scene {
    /// A receiver that answers with this status.
    pub(crate) async fn new(status: u16) -> Self {
        let folder = Folder::new();
        Self {
            outbox: outbox(&folder),
            folder,
            receiver: Receiver::start(status).await,
        }
    }

    pub(crate) async fn proxy(&self, more: &[&str]) -> Proxy {
        let args = ["--outbox", &self.outbox];
        Proxy::start(&upstream().await, &[&args[..], more].concat()).await
    }

    pub(crate) async fn run(&self, args: &[&str]) -> Said {
        let args = [&["deliveries"], args, &["--outbox", &self.outbox]].concat();
        let mut process = Process::start(BINARY, &args, &[]);
        Said {
            out: process.stdout.rest().await,
            error: process.stderr.rest().await,
            success: process.exit().await.success(),
        }
    }

    pub(crate) async fn list(&self, more: &[&str]) -> Vec<Value> {
        let said = self.run(&[&["list"], more].concat()).await;
        assert!(said.success, "{}", said.error);
        let lines = said.out.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

pub(crate) fn requests(records: &[Value]) -> Vec<&str> {
    let ids = records.iter().map(|record| &record["request_id"]);
    ids.map(|id| id.as_str().unwrap()).collect()
}

#[tokio::test]
async fn dead_letters_are_listed_shown_and_delivered_again() {
    let scene = Scene::new(500).await;
    let proxy = scene.proxy(&[]).await;
    for id in ["a", "b", "c"] {
        proxy.call(id, &scene.receiver.url()).await;
    }
    until_in_file(|| scene.folder.count("state = 'dead'") == 3).await;
    let listed = scene.list(&["--state", "dead"]).await;
    assert_eq!(requests(&listed), ["c", "b", "a"], "newest first");
    assert_eq!(listed[0]["host"], "127.0.0.1");
    assert_eq!(listed[0]["response_status"], 200);
    assert_eq!(listed[0]["attempts"][0]["status"], 500);
    let id = listed[0]["id"].as_str().unwrap();
    let rest = scene.list(&["--limit", "1", "--after", id]).await;
    assert_eq!(requests(&rest), ["b"]);
    assert!(scene.list(&["--host", "example.com"]).await.is_empty());
    assert!(scene.list(&["--before", "1h"]).await.is_empty());
    assert_eq!(
        scene
            .list(&["--since", "1h", "--request-id", "a"])
            .await
            .len(),
        1
    );

    let shown: Value = serde_json::from_str(&scene.run(&["show", id]).await.out).unwrap();
    assert_eq!(shown, listed[0]);
    let payload = scene.run(&["show", id, "--payload"]).await;
    assert_eq!(payload.out, "the result of c\n");

    // One, and then all that are left.
    scene.receiver.answer(200);
    let said = scene.run(&["redeliver", id]).await;
    assert_eq!(said.out, "{\"deliveries\":1}\n", "{}", said.error);
    until_in_file(|| scene.folder.count("TRUE") == 2).await;
    let asked = scene.run(&["redeliver"]).await;
    assert!(
        !asked.success && asked.error.contains("2 deliveries"),
        "{}",
        asked.error
    );
    assert!(asked.error.contains("--yes does it"));
    let said = scene.run(&["redeliver", "--yes"]).await;
    assert_eq!(said.out, "{\"deliveries\":2}\n");
    until_in_file(|| scene.folder.count("TRUE") == 0).await;
    assert_eq!(scene.list(&["--state", "delivered"]).await.len(), 3);
    proxy.end().await;
    for (state, says) in [
        (
            "delivered",
            "at most 3 deliveries, those whose payload is still kept\nThey were delivered already",
        ),
        ("failed", "Where a failure notice was taken"),
        ("waiting", "what waits or runs cannot be redelivered"),
        ("running", "what waits or runs cannot be redelivered"),
    ] {
        let said = scene.run(&["redeliver", "--state", state]).await;
        assert!(said.error.contains(says), "{state}: {}", said.error);
    }
}

#[tokio::test]
async fn what_waits_is_given_up() {
    let scene = Scene::new(200).await;
    let proxy = scene.proxy(&["--no-deliver"]).await;
    for id in ["a", "b", "c"] {
        proxy.call(id, &scene.receiver.url()).await;
    }
    let id = scene.list(&["--request-id", "b"]).await[0]["id"].clone();
    let id = id.as_str().unwrap();
    for (expected, success) in [
        ("{\"deliveries\":1}\n", true),
        ("{\"deliveries\":0}\n", false),
    ] {
        let said = scene.run(&["cancel", id]).await;
        assert_eq!((&*said.out, said.success), (expected, success));
    }
    let waiting = scene.list(&["--state", "waiting"]).await;
    assert_eq!(requests(&waiting), ["c", "a"]);
    assert_eq!(
        scene.run(&["cancel", "--yes"]).await.out,
        "{\"deliveries\":2}\n"
    );
    assert_eq!(scene.folder.count("TRUE"), 0);
    let said = scene.run(&["cancel", "--state", "dead", "--yes"]).await;
    assert!(said.error.contains("only what waits"), "{}", said.error);
    proxy.end().await;
}

#[tokio::test]
async fn whoever_looks_makes_nothing_and_removes_nothing() {
    let scene = Scene::new(200).await;
    for (args, says) in [
        (&["list"][..], "there is no such file"),
        (&["show", "none"], "must be a delivery's id"),
        (&["list", "--since", "yesterday"], "must be a time"),
        (&["list", "--state", "gone"], "must be running, waiting"),
        (
            &[
                "redeliver",
                "01a22cad-f96f-7534-b9fc-3d6433f9036f",
                "--host",
                "a",
            ],
            "either ids",
        ),
    ] {
        let said = scene.run(args).await;
        assert!(!said.success && said.error.contains(says), "{}", said.error);
    }
    assert!(!scene.folder.file().exists());
    let mut memory = Process::start(BINARY, &["deliveries", "list"], &[]);
    assert!(memory.stderr.rest().await.contains("name the --outbox"));

    // Without its key it is not looked at.
    drop(scene.folder.outbox());
    let said = scene.run(&["list"]).await;
    assert!(
        !said.success && said.error.contains(".key: "),
        "{}",
        said.error
    );
}

/// It is where it has gone.
#[tokio::test]
async fn what_was_passed_on_is_not_told_as_delivered() {
    let (scene, far) = (Scene::new(200).await, Scene::new(200).await);
    let proxy = scene.proxy(&["--no-deliver"]).await;
    proxy.call("a", &scene.receiver.url()).await;
    let worker = Worker::start(&scene.outbox, &["--forward", &far.outbox]).await;
    until_in_file(|| scene.folder.count("TRUE") == 0).await;
    worker.end().await;
    proxy.end().await;
    assert!(scene.list(&[]).await.is_empty());
    assert_eq!(far.list(&["--state", "waiting"]).await.len(), 1);
}

/// Rows that somebody has edited are not listed, and end no list.
#[tokio::test]
async fn all_are_counted_beside_what_cannot_be_read() {
    let scene = Scene::new(200).await;
    let proxy = scene.proxy(&["--no-deliver"]).await;
    proxy.call("a", &scene.receiver.url()).await;
    proxy.end().await;
    // More than are read at once, and one among the first of them is spoilt.
    scene.folder.sql(
        "INSERT INTO delivery (id, request_id, state, host, status, envelope, key, payload_len, accepted_at, due_at)
         SELECT printf('01a22b5c-76eb-74a2-9389-%012x', value), 'b', 'waiting', 'example.com', 200, envelope, key,
             payload_len, accepted_at, due_at
         FROM delivery, (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n LIMIT 1100)
             SELECT value FROM n);
         UPDATE delivery SET request_id = '?' WHERE id LIKE '%000000000400'",
    );
    let said = scene.run(&["cancel"]).await;
    assert!(said.error.contains("1100 deliveries"), "{}", said.error);
}

/// Nobody has checked what is in the file.
#[tokio::test]
async fn times_that_nobody_can_write_are_shown() {
    let scene = Scene::new(200).await;
    let proxy = scene.proxy(&[]).await;
    proxy.call("a", &scene.receiver.url()).await;
    until_in_file(|| scene.folder.count_in("history", "TRUE") == 1).await;
    proxy.end().await;
    scene.folder.sql(
        "UPDATE history SET accepted_at = 9223372036854775807,
             attempts = '1 9223372036854775807 0 200 - -' || char(10)",
    );
    let listed = scene.list(&[]).await;
    assert_eq!(listed[0]["accepted_at"], "9999-12-31T23:59:59.000Z");
    assert_eq!(listed[0]["attempts"][0]["at"], "9999-12-31T23:59:59.000Z");
}
