//! Proxies that accept, and workers that deliver.

use std::collections::HashMap;

use crate::{
    BINARY,
    process::Process,
    scene::{Folder, Receiver, SILENT, until_in_file},
    sqlite::{Proxy, outbox, upstream},
};

pub(crate) struct Worker(Process);

impl Worker {
    pub(crate) async fn start(outbox: &str, more: &[&str]) -> Self {
        Self::start_as(outbox, outbox, more).await
    }

    /// It says by this name where it delivers from.
    pub(crate) async fn start_as(outbox: &str, name: &str, more: &[&str]) -> Self {
        let args = ["worker", "--insecure-private-endpoints", "--outbox", outbox];
        let mut worker = Process::start(BINARY, &[&args[..], more].concat(), &[]);
        let line = worker.stdout.line_with("delivering from ").await;
        assert_eq!(line, format!("delivering from {name}"));
        Self(worker)
    }

    fn stop(&self) {
        self.0.signal("TERM");
    }

    pub(crate) async fn die(mut self) {
        self.0.signal("KILL");
        self.0.exit().await;
    }

    /// With what it says of its end.
    pub(crate) async fn end(mut self) -> String {
        self.stop();
        assert!(self.0.exit().await.success());
        self.0.stderr.rest().await
    }
}

async fn accepting(outbox: &str) -> Proxy {
    let args = ["--outbox", outbox, "--no-deliver"];
    Proxy::start(&upstream().await, &args).await
}

#[tokio::test]
async fn what_a_proxy_accepts_a_worker_delivers() {
    let (folder, receiver) = (Folder::new(), Receiver::start(200).await);
    let outbox = outbox(&folder);
    let proxy = accepting(&outbox).await;
    for id in ["a", "b"] {
        proxy.call(id, &receiver.url()).await;
    }
    assert_eq!(folder.count("state = 'waiting'"), 2);
    assert!(receiver.posts().is_empty());

    let worker = Worker::start(&outbox, &[]).await;
    receiver.gets(2).await;
    // It finds what comes while it is there, too.
    proxy.call("c", &receiver.url()).await;
    let posts = receiver.gets(3).await;
    assert!(posts.iter().all(|post| post.signed && post.attempt == 1));
    assert!(proxy.end().await.contains("accepted=3 delivered=0 "));
    assert!(worker.end().await.contains("accepted=0 delivered=3 "));
}

#[tokio::test]
async fn what_a_worker_had_is_handed_over_at_once_when_it_is_told_to_stop() {
    let (folder, receiver) = (Folder::new(), Receiver::start(SILENT).await);
    let outbox = outbox(&folder);
    let proxy = accepting(&outbox).await;
    for id in ["a", "b", "c"] {
        proxy.call(id, &receiver.url()).await;
    }
    let mut first = Worker::start(&outbox, &["--drain", "0s"]).await;
    receiver.gets(3).await;
    first.stop();
    first.0.exit().await;
    assert_eq!(folder.count("state = 'leased'"), 0);
    assert_eq!(folder.count("state = 'waiting'"), 3);

    receiver.answer(200);
    let second = Worker::start(&outbox, &[]).await;
    until_in_file(|| folder.count("TRUE") == 0).await;
    assert!(second.end().await.contains(" delivered=3 "));
    proxy.end().await;
}

#[tokio::test]
async fn what_a_killed_worker_had_is_delivered_by_the_next_one() {
    let (folder, receiver) = (Folder::new(), Receiver::start(SILENT).await);
    let outbox = outbox(&folder);
    let proxy = accepting(&outbox).await;
    for id in ["a", "b", "c"] {
        proxy.call(id, &receiver.url()).await;
    }
    let first = Worker::start(&outbox, &[]).await;
    receiver.gets(3).await;
    first.die().await;
    assert_eq!(folder.count("state = 'leased'"), 3);

    receiver.answer(200);
    let second = Worker::start(&outbox, &[]).await;
    until_in_file(|| folder.count("TRUE") == 0).await;
    // What was cut off was no attempt that has ended.
    assert!(receiver.posts().iter().all(|post| post.attempt == 1));
    assert!(second.end().await.contains(" delivered=3 "));
    proxy.end().await;
}

/// How often each side is replaced; the full number is a setting, as it takes minutes.
fn restarts() -> usize {
    let number = std::env::var("TOWER_WEBHOOK_RESTARTS");
    number.map_or(4, |number| number.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_nothing_and_repeats_nothing() {
    const CALLS: usize = 50;
    let (folder, receiver) = (Folder::new(), Receiver::start(200).await);
    let outbox = outbox(&folder);
    let mut worker = Worker::start(&outbox, &[]).await;
    let mut proxy = accepting(&outbox).await;
    for round in 0..restarts() {
        // The next ones are there before the ones before leave.
        let calls = async {
            for call in 0..CALLS {
                proxy
                    .call(&format!("{round}-{call}"), &receiver.url())
                    .await;
            }
        };
        let replaces = async {
            receiver.gets(round * CALLS + 1).await;
            let next = Worker::start(&outbox, &[]).await;
            std::mem::replace(&mut worker, next).end().await;
        };
        tokio::join!(calls, replaces);
        let next = accepting(&outbox).await;
        std::mem::replace(&mut proxy, next).end().await;
    }
    until_in_file(|| folder.count("TRUE") == 0).await;
    worker.end().await;
    proxy.end().await;
    let mut times: HashMap<String, usize> = HashMap::new();
    for id in receiver.ids() {
        *times.entry(id).or_default() += 1;
    }
    assert_eq!(times.len(), restarts() * CALLS);
    let repeated: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    assert!(repeated.is_empty(), "{repeated:?}");
}

#[tokio::test]
async fn what_does_not_go_together_is_refused() {
    for (args, says) in [
        (&["worker"][..], "a worker needs the --outbox"),
        (
            &["proxy", "--upstream", "http://service", "--no-deliver"],
            "--no-deliver goes with an --outbox",
        ),
        (
            &[
                "worker",
                "--outbox",
                "sqlite:/nowhere/a",
                "--forward",
                "sqlite:/nowhere/b",
                "--keep-payloads",
            ],
            "cannot be used with",
        ),
    ] {
        let mut process = Process::start(BINARY, args, &[("TOWER_WEBHOOK_LISTEN", "127.0.0.1:0")]);
        let text = process.stderr.rest().await;
        assert!(!process.exit().await.success());
        assert!(text.starts_with("error: ") && text.contains(says), "{text}");
    }
}
