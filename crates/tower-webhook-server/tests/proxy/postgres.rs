//! `--outbox postgres://…` and `--forward postgres://…`, with a server of the tests' own.

use std::{collections::HashSet, path::Path};

use crate::{
    postgres_support::server::Server,
    process::within,
    scene::{Folder, Receiver, SILENT},
    sqlite::{Proxy, upstream},
    worker::Worker,
};

/// How processes find the database.
struct Database {
    server: Server,
    folder: Folder,
}

impl Database {
    fn start() -> Option<Self> {
        let server = Server::start(&["listen_addresses=127.0.0.1"])?;
        let folder = Folder::new();
        Some(Self { server, folder })
    }

    fn url(&self) -> String {
        format!(
            "postgres://postgres@127.0.0.1:{}/postgres?sslmode=disable",
            self.server.port()
        )
    }

    fn key_file(&self) -> String {
        let path = self.folder.file().with_extension("key");
        path.to_str().unwrap().to_owned()
    }

    /// How many deliveries wait, or are under way.
    async fn left(&self) -> i64 {
        let client = self.server.sql().await;
        let query = "SELECT count(*) FROM tower_webhook.delivery WHERE state <> 'dead'";
        client.query_one(query, &[]).await.unwrap().get(0)
    }

    async fn until_nothing_is_left(&self) {
        let nothing_is_left = async {
            while self.left().await > 0 {
                tokio::task::yield_now().await;
            }
        };
        within(nothing_is_left).await;
    }

    async fn accepting(&self) -> Proxy {
        let (url, key) = (self.url(), self.key_file());
        let args = ["--no-deliver", "--outbox", &url, "--outbox-key-file", &key];
        Proxy::start(&upstream().await, &args).await
    }

    async fn worker(&self) -> Worker {
        let args = ["--outbox-key-file", &self.key_file()];
        let args = [&args[..], &["--outbox-max-leased-per-host", "64"]].concat();
        Worker::start_as(&self.url(), "postgres", &args).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_accept_and_workers_deliver_over_a_rolling_restart() {
    let Some(database) = Database::start() else {
        return;
    };
    let receiver = Receiver::start(200).await;
    let (mut worker, mut proxy) = (database.worker().await, database.accepting().await);
    let mut ids = HashSet::new();
    for round in 0..3 {
        for call in 0..20 {
            let id = format!("{round}-{call}");
            proxy.call(&id, &receiver.url()).await;
            ids.insert(id);
        }
        let next = database.worker().await;
        std::mem::replace(&mut worker, next).end().await;
        let next = database.accepting().await;
        std::mem::replace(&mut proxy, next).end().await;
    }
    database.until_nothing_is_left().await;
    worker.end().await;
    proxy.end().await;
    let posts = receiver.posts();
    assert!(posts.iter().all(|post| post.signed));
    assert_eq!(posts.len(), ids.len(), "nothing comes twice");
    assert_eq!(
        posts
            .into_iter()
            .map(|post| post.id)
            .collect::<HashSet<_>>(),
        ids
    );
}

#[tokio::test]
async fn what_a_killed_worker_had_is_delivered_by_another_one() {
    let Some(database) = Database::start() else {
        return;
    };
    let receiver = Receiver::start(SILENT).await;
    let proxy = database.accepting().await;
    for id in ["a", "b", "c"] {
        proxy.call(id, &receiver.url()).await;
    }
    let first = database.worker().await;
    receiver.gets(3).await;
    first.die().await;
    receiver.answer(200);
    let second = database.worker().await;
    database.until_nothing_is_left().await;
    assert!(receiver.posts().iter().all(|post| post.attempt == 1));
    assert!(second.end().await.contains(" delivered=3 "));
    proxy.end().await;
}

/// No call waits for the server, not even at the start.
#[tokio::test]
async fn what_is_stored_here_goes_on_once_the_server_is_back() {
    let Some(mut database) = Database::start() else {
        return;
    };
    database.server.stop();
    let (near, receiver) = (Folder::new(), Receiver::start(200).await);
    let outbox = crate::sqlite::outbox(&near);
    let (url, key) = (database.url(), database.key_file());
    let args = [
        "--outbox",
        &outbox,
        "--forward",
        &url,
        "--forward-key-file",
        &key,
    ];
    let proxy = Proxy::start(&upstream().await, &args).await;
    for id in ["a", "b"] {
        proxy.call(id, &receiver.url()).await;
    }
    assert_eq!(near.count("TRUE"), 2);
    database.server.run();
    crate::scene::until_in_file(|| near.count("TRUE") == 0).await;
    proxy.call("c", &receiver.url()).await;
    assert!(receiver.posts().is_empty());

    let worker = database.worker().await;
    receiver.gets(3).await;
    database.until_nothing_is_left().await;
    assert!(proxy.end().await.contains("accepted=3 delivered=0 "));
    worker.end().await;
    let mut ids = receiver.ids();
    ids.sort();
    assert_eq!(ids, ["a", "b", "c"]);
}

#[tokio::test]
async fn settings_that_do_not_fit_are_named_and_passwords_are_not() {
    let folder = Folder::new();
    let key = folder.file();
    let key = Path::new(&key).to_str().unwrap().to_owned();
    let nowhere = "postgres://me:hush@127.0.0.1:1/name";
    for (args, says) in [
        (&["--outbox", nowhere][..], "needs --outbox-key-file FILE"),
        (
            &["--outbox", nowhere, "--outbox-key-file", &key],
            "cannot be reached",
        ),
        (
            &["--outbox", "sqlite:/nowhere/a", "--outbox-ca-file", &key],
            "goes with --outbox postgres",
        ),
        (
            &["--outbox-max-leased-per-host", "9"],
            "goes with --outbox postgres",
        ),
        (
            &[
                "--outbox",
                "memory",
                "--forward",
                "postgres://me:hush@/",
                "--forward-key-file",
                &key,
            ],
            "error: --forward: the connection string",
        ),
        (
            &[
                "--outbox",
                "memory",
                "--forward",
                nowhere,
                "--forward-key-file",
                &key,
                "--body-limit",
                "1GiB",
            ],
            "256MiB at most",
        ),
        (
            &[
                "--outbox",
                "memory",
                "--forward",
                nowhere,
                "--status-path",
                "/status",
            ],
            "--status-path cannot see",
        ),
    ] {
        let base = ["--upstream", "http://service", "--listen", "127.0.0.1:0"];
        let mut proxy = crate::proxy(&[&base[..], args].concat(), &[]);
        let text = proxy.stderr.rest().await;
        assert!(!proxy.exit().await.success(), "{args:?}");
        assert!(text.contains(says) && !text.contains("hush"), "{text}");
    }
}
