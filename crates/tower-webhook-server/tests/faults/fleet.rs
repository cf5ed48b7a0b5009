//! Two proxies, two workers and a server, of which any is killed and started again.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Instant,
};

use axum::{Router, body::Bytes, routing::post};
use tempfile::TempDir;

use crate::{
    engine::Engine,
    process::Process,
    record::{LONG, serve},
};

const BINARY: &str = env!("CARGO_BIN_EXE_tower-webhook");

/// Where the proxies are at this moment.
#[derive(Clone)]
pub(crate) struct Addresses(Arc<Mutex<Vec<SocketAddr>>>);

pub(crate) struct Fleet {
    pub(crate) engine: Engine,
    url: String,
    folder: TempDir,
    upstream: String,
    proxies: Vec<Process>,
    workers: Vec<Process>,
    addresses: Addresses,
    front: Front,
    /// What the second proxy and the second worker have in their environment.
    of_second: Vec<(&'static str, String)>,
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
    /// Before this server.
    pub(crate) async fn before(engine: Engine, front: Front) -> Self {
        let url = engine.url();
        Self::at(engine, url, front, Vec::new()).await
    }

    /// One proxy and one worker have this in their environment.
    pub(crate) async fn with_others(
        engine: Engine,
        of_second: Vec<(&'static str, String)>,
    ) -> Self {
        let url = engine.url();
        Self::at(engine, url, Front::Server, of_second).await
    }

    /// Before this server, which is found so.
    pub(crate) async fn at(
        engine: Engine,
        url: String,
        front: Front,
        of_second: Vec<(&'static str, String)>,
    ) -> Self {
        let service = Router::new().route("/run", post(|body: Bytes| async { body }));
        let mut fleet = Self {
            engine,
            url,
            folder: tempfile::tempdir().unwrap(),
            upstream: format!("http://{}", serve(service).await),
            proxies: Vec::new(),
            workers: Vec::new(),
            addresses: Addresses(Arc::default()),
            front,
            of_second,
            turn: 0,
        };
        for number in 0..2 {
            let (proxy, address) = fleet.proxy(number).await;
            fleet.proxies.push(proxy);
            fleet.addresses.0.lock().unwrap().push(address);
            let worker = fleet.worker(number).await;
            fleet.workers.push(worker);
        }
        fleet
    }

    pub(crate) fn proxies(&self) -> Addresses {
        self.addresses.clone()
    }

    fn outbox(&self, option: &str) -> Vec<String> {
        let key = self.folder.path().join("key");
        let mut args = self.engine.more(option);
        args.extend([
            format!("--{option}"),
            self.url.clone(),
            format!("--{option}-key-file"),
            key.display().to_string(),
        ]);
        args
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
        let (proxy, line) = start(&args, self.environment(number)).await;
        (proxy, line.rsplit('/').next().unwrap().parse().unwrap())
    }

    fn environment(&self, number: usize) -> Vec<(&str, &str)> {
        let quiet = ("RUST_LOG", "error");
        let more = self.of_second.iter().filter(|_| number == 1);
        let more = more.map(|(name, value)| (*name, value.as_str()));
        std::iter::once(quiet).chain(more).collect()
    }

    async fn worker(&self, number: usize) -> Process {
        let outbox = self.outbox("outbox");
        let mut args = vec!["worker", "--insecure-private-endpoints"];
        args.extend(outbox.iter().map(String::as_str));
        start(&args, self.environment(number)).await.0
    }

    /// Kills something, in turn, and starts it again.
    pub(crate) async fn kill_one(&mut self) {
        let which = fastrand::usize(..2);
        self.turn += 1;
        match self.turn % 3 {
            0 => {
                self.engine.kill();
                self.engine.run();
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
                self.workers[which] = self.worker(which).await;
            }
        }
    }
}

/// With the first line that it prints. One that cannot open its outbox yet ends, and is started again, as an
/// init system does: servers of a cluster need seconds to find each other.
async fn start(args: &[&str], environment: Vec<(&str, &str)>) -> (Process, String) {
    let began = Instant::now();
    loop {
        let mut process = Process::start(BINARY, args, &environment);
        if let Some(line) = process.stdout.next().await {
            return (process, line);
        }
        let text = process.stderr.rest().await;
        assert!(began.elapsed() < LONG, "{text}");
    }
}
