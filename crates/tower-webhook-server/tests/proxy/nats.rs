//! `--outbox nats://…` and `--forward nats://…`, with a server of the tests' own.

use std::collections::HashSet;

use crate::{
    BINARY,
    nats_server::Server,
    process::{Process, within},
    scene::{Folder, Receiver, until_in_file},
    sqlite::{Proxy, outbox, upstream},
    worker::Worker,
};

struct Stream {
    server: Server,
    folder: Folder,
}

impl Stream {
    fn start() -> Option<Self> {
        let server = Server::start()?;
        let folder = Folder::new();
        Some(Self { server, folder })
    }

    fn key_file(&self) -> String {
        let path = self.folder.file().with_extension("key");
        path.to_str().unwrap().to_owned()
    }

    async fn worker(&self) -> Worker {
        let key = self.key_file();
        let args = ["--outbox-key-file", &key, "--outbox-replicas", "1"];
        Worker::start_as(&self.server.address(), "nats", &args).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_accept_and_workers_deliver_over_a_rolling_restart() {
    let Some(stream) = Stream::start() else {
        return;
    };
    let receiver = Receiver::start(200).await;
    let (address, key) = (stream.server.address(), stream.key_file());
    let args = [
        "--no-deliver",
        "--outbox",
        &address,
        "--outbox-replicas",
        "1",
    ];
    let args = [&args[..], &["--outbox-key-file", &key]].concat();
    let proxy = Proxy::start(&upstream().await, &args).await;
    let mut worker = stream.worker().await;
    let mut ids = HashSet::new();
    for round in 0..2 {
        for call in 0..10 {
            let id = format!("{round}-{call}");
            proxy.call(&id, &receiver.url()).await;
            ids.insert(id);
        }
        let next = stream.worker().await;
        std::mem::replace(&mut worker, next).end().await;
    }
    receiver.gets(ids.len()).await;
    worker.end().await;
    proxy.end().await;
    let posts = receiver.posts();
    assert!(posts.iter().all(|post| post.signed));
    assert_eq!(
        posts
            .into_iter()
            .map(|post| post.id)
            .collect::<HashSet<_>>(),
        ids
    );
}

/// However often somebody looks.
#[tokio::test]
async fn the_page_says_that_nothing_can_be_looked_at_and_the_log_does_not() {
    let Some(stream) = Stream::start() else {
        return;
    };
    let (address, key) = (stream.server.address(), stream.key_file());
    let args = ["worker", "--outbox", &address, "--admin", "127.0.0.1:0"];
    let more = ["--outbox-key-file", &key, "--outbox-replicas", "1"];
    let mut worker = Process::start(BINARY, &[&args[..], &more].concat(), &[]);
    let admin = worker.stdout.line_with("admin on http://").await;
    let admin = admin.rsplit('/').next().unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for (path, status) in [
        ("api/deliveries", 501),
        ("api/count?action=redeliver", 501),
        ("api/summary", 200),
        ("readyz", 200),
    ] {
        let asked = client.get(format!("http://{admin}/{path}")).send();
        assert_eq!(within(asked).await.unwrap().status(), status, "{path}");
    }
    worker.signal("TERM");
    assert!(worker.exit().await.success());
    let log = worker.stderr.rest().await;
    assert!(!log.contains("ERROR"), "{log}");
}

/// A server need not take messages as large as the default.
#[tokio::test]
async fn a_worker_is_told_how_large_bodies_are() {
    let Some(server) = Server::start_with("max_payload: 1MB") else {
        return;
    };
    let (folder, receiver) = (Folder::new(), Receiver::start(200).await);
    let key = folder.file().with_extension("key");
    let (address, key) = (server.address(), key.to_str().unwrap());
    let mut args = vec!["--outbox-key-file", key, "--outbox-replicas", "1"];
    let plain = [&["worker", "--outbox", &address], &args[..]].concat();
    let mut worker = Process::start(BINARY, &plain, &[]);
    let text = worker.stderr.rest().await;
    assert!(text.contains("max_payload"), "{text}");

    args.extend(["--body-limit", "256KiB"]);
    let of_proxy = ["--no-deliver", "--outbox", &address];
    let proxy = Proxy::start(&upstream().await, &[&of_proxy, &args[..]].concat()).await;
    proxy.call("a", &receiver.url()).await;
    let worker = Worker::start_as(&address, "nats", &args).await;
    receiver.gets(1).await;
    worker.end().await;
    proxy.end().await;
}

#[tokio::test]
async fn what_is_stored_here_goes_on_once_the_server_is_back() {
    let Some(mut stream) = Stream::start() else {
        return;
    };
    stream.server.kill();
    let (near, receiver) = (Folder::new(), Receiver::start(200).await);
    let (outbox, key) = (outbox(&near), stream.key_file());
    let address = stream.server.address();
    let args = [
        "--outbox",
        &outbox,
        "--forward",
        &address,
        "--forward-replicas",
        "1",
    ];
    let args = [&args[..], &["--forward-key-file", &key]].concat();
    let proxy = Proxy::start(&upstream().await, &args).await;
    for id in ["a", "b"] {
        proxy.call(id, &receiver.url()).await;
    }
    assert_eq!(near.count("TRUE"), 2);
    stream.server.restart();
    until_in_file(|| near.count("TRUE") == 0).await;
    assert!(receiver.posts().is_empty());
    let worker = stream.worker().await;
    receiver.gets(2).await;
    proxy.end().await;
    worker.end().await;
}

#[tokio::test]
async fn settings_that_do_not_fit_are_named() {
    let folder = Folder::new();
    let key = folder.file();
    let key = key.to_str().unwrap();
    let nowhere = "nats://127.0.0.1:1";
    for (args, says) in [
        (&["--outbox", nowhere][..], "needs --outbox-key-file FILE"),
        (
            &["--outbox", nowhere, "--outbox-key-file", key],
            "error: --outbox: ",
        ),
        (
            &[
                "--outbox",
                nowhere,
                "--outbox-key-file",
                key,
                "--status-path",
                "/status",
            ],
            "cannot be looked up",
        ),
        (
            &[
                "--outbox",
                "sqlite:/nowhere/a",
                "--outbox-credentials-file",
                key,
            ],
            "goes with --outbox nats",
        ),
    ] {
        let base = ["--upstream", "http://service", "--listen", "127.0.0.1:0"];
        let mut proxy = crate::proxy(&[&base[..], args].concat(), &[]);
        let text = proxy.stderr.rest().await;
        assert!(!proxy.exit().await.success(), "{args:?}");
        assert!(text.contains(says), "{text}");
    }
}
