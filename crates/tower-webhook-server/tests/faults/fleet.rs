//! Two proxies, two workers and a server, of which any is killed and started again.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, routing::post};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::{postgres_support::server::Server, process::Process, record::serve};

const BINARY: &str = env!("CARGO_BIN_EXE_tower-webhook");

/// Where the proxies are at this moment.
#[derive(Clone)]
pub(crate) struct Addresses(Arc<Mutex<Vec<SocketAddr>>>);

pub(crate) struct Fleet {
    pub(crate) server: Server,
    url: String,
    folder: TempDir,
    upstream: String,
    proxies: Vec<Process>,
    workers: Vec<Process>,
    addresses: Addresses,
    front: Front,
    turn: usize,
}

/// Where proxies put webhooks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    /// Into the server.
    Server,
    /// Into a file of their own, and on from there.
    File,
}

impl Addresses {
    pub(crate) fn any(&self) -> SocketAddr {
        let addresses = self.0.lock().unwrap();
        addresses[fastrand::usize(..addresses.len())]
    }
}

impl Fleet {
    /// `None` where there is no server to be had.
    pub(crate) async fn start(front: Front) -> Option<Self> {
        let server = Server::start(&["listen_addresses=127.0.0.1"])?;
        let at = format!("127.0.0.1:{}", server.port());
        Some(Self::before(server, &at, front).await)
    }

    /// Before this server, which is found at these addresses.
    pub(crate) async fn before(server: Server, at: &str, front: Front) -> Self {
        let settings = "sslmode=disable&target_session_attrs=read-write";
        let service = Router::new().route("/run", post(|body: Bytes| async { body }));
        let mut fleet = Self {
            server,
            url: format!("postgres://postgres@{at}/postgres?{settings}"),
            folder: tempfile::tempdir().unwrap(),
            upstream: format!("http://{}", serve(service).await),
            proxies: Vec::new(),
            workers: Vec::new(),
            addresses: Addresses(Arc::default()),
            front,
            turn: 0,
        };
        for number in 0..2 {
            let (proxy, address) = fleet.proxy(number).await;
            fleet.proxies.push(proxy);
            fleet.addresses.0.lock().unwrap().push(address);
            let worker = fleet.worker().await;
            fleet.workers.push(worker);
        }
        fleet
    }

    pub(crate) fn proxies(&self) -> Addresses {
        self.addresses.clone()
    }

    fn outbox(&self, option: &str) -> Vec<String> {
        let key = self.folder.path().join("key");
        vec![
            format!("--{option}"),
            self.url.clone(),
            format!("--{option}-key-file"),
            key.display().to_string(),
        ]
    }

    async fn proxy(&self, number: usize) -> (Process, SocketAddr) {
        let outbox = match self.front {
            Front::Server => [self.outbox("outbox"), vec!["--no-deliver".to_owned()]].concat(),
            Front::File => {
                let file = self.folder.path().join(format!("webhooks-{number}.db"));
                let near = ["--outbox".to_owned(), format!("sqlite:{}", file.display())];
                [self.outbox("forward"), near.to_vec()].concat()
            }
        };
        let mut args = vec!["proxy", "--required-durability"];
        args.extend(["--listen", "127.0.0.1:0", "--upstream", &self.upstream]);
        args.push("--insecure-private-endpoints");
        args.extend(outbox.iter().map(String::as_str));
        let mut proxy = Process::start(BINARY, &args, &[("RUST_LOG", "error")]);
        let line = proxy.stdout.line_with("listening on http://").await;
        (proxy, line.rsplit('/').next().unwrap().parse().unwrap())
    }

    async fn worker(&self) -> Process {
        let outbox = self.outbox("outbox");
        let mut args = vec!["worker", "--insecure-private-endpoints"];
        args.extend(outbox.iter().map(String::as_str));
        let mut worker = Process::start(BINARY, &args, &[("RUST_LOG", "error")]);
        worker.stdout.line_with("delivering from ").await;
        worker
    }

    /// Kills something, in turn, and starts it again.
    pub(crate) async fn kill_one(&mut self) {
        let which = fastrand::usize(..2);
        self.turn += 1;
        match self.turn % 3 {
            0 => {
                self.server.kill();
                self.server.run();
            }
            1 => {
                self.proxies[which].signal("KILL");
                self.proxies[which].exit().await;
                let (proxy, address) = self.proxy(which).await;
                self.proxies[which] = proxy;
                self.addresses.0.lock().unwrap()[which] = address;
            }
            _ => {
                self.workers[which].signal("KILL");
                self.workers[which].exit().await;
                self.workers[which] = self.worker().await;
            }
        }
    }

    /// Of what the proxies have in files of their own.
    pub(crate) async fn until_all_has_gone_on(&self) {
        for number in 0..self.proxies.len() {
            let file = self.folder.path().join(format!("webhooks-{number}.db"));
            if !file.exists() {
                continue;
            }
            let conn = Connection::open(&file).unwrap();
            let left = || conn.query_row("SELECT count(*) FROM delivery", [], |row| row.get(0));
            while left() != Ok(0) {
                tokio::task::yield_now().await;
            }
        }
    }

    pub(crate) async fn until_nothing_is_left(&self) {
        let client = self.server.sql().await;
        let query = "SELECT count(*) FROM tower_webhook.delivery WHERE state <> 'dead'";
        loop {
            let left: i64 = client.query_one(query, &[]).await.unwrap().get(0);
            if left == 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}
