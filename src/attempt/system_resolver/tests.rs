use std::{
    future::poll_fn,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::*;
use crate::{
    attempt::{counted_runtime::SOCKETS_OF_A_LOOKUP, resolver::JudgingResolver},
    endpoint::EndpointPolicy,
};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig};
use tempfile::TempDir;
use tokio::{
    net::UdpSocket,
    task::{AbortHandle, yield_now},
};

/// The type of a query for an IPv4 address.
const A: u16 = 1;

/// How a name server answers a query of some type.
enum Answer {
    Nothing,
    NoSuchName,
    Address(Ipv4Addr),
}

/// A name server on loopback.
struct NameServer {
    config: NameServerConfig,
    asked: Arc<Mutex<Vec<String>>>,
    serving: AbortHandle,
}

impl NameServer {
    async fn new(answer: fn(u16) -> Answer) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut connection = ConnectionConfig::udp();
        connection.port = socket.local_addr().unwrap().port();
        let asked = Arc::default();
        Self {
            config: NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![connection]),
            asked: Arc::clone(&asked),
            serving: tokio::spawn(serve(socket, asked, answer)).abort_handle(),
        }
    }

    /// The names that it was asked for since the last call.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn unknowing() -> NameServer {
    NameServer::new(|_| Answer::NoSuchName).await
}

async fn serve(socket: UdpSocket, asked: Arc<Mutex<Vec<String>>>, answer: fn(u16) -> Answer) {
    let mut query = [0; 512];
    loop {
        let (_, from) = socket.recv_from(&mut query).await.unwrap();
        let mut labels = Vec::new();
        let mut at = 12;
        while query[at] != 0 {
            let end = at + 1 + usize::from(query[at]);
            labels.push(str::from_utf8(&query[at + 1..end]).unwrap().to_owned());
            at = end;
        }
        asked.lock().unwrap().push(labels.join("."));
        let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
        let question = &query[12..at + 5];
        let (code, answers) = match answer(kind) {
            Answer::Nothing => continue,
            Answer::NoSuchName => (3, vec![]),
            Answer::Address(address) => {
                // For the name in the question, type A, for a minute.
                let head = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4];
                (0, [&head[..], &address.octets()].concat())
            }
        };
        let counts = [0, 1, 0, u8::from(!answers.is_empty()), 0, 0, 0, 0];
        let head = [&query[..2], &[0x81, 0x80 | code], &counts].concat();
        let response = [&head, question, &answers].concat();
        socket.send_to(&response, from).await.unwrap();
    }
}

fn asking<'a>(servers: impl IntoIterator<Item = &'a NameServer>) -> SystemResolver {
    let servers = servers.into_iter().map(|server| server.config.clone());
    SystemResolver::with_config(SystemConfig::asking(servers.collect()), 100)
}

const ADDRESS: Ipv4Addr = Ipv4Addr::new(93, 184, 216, 34);

async fn knowing() -> NameServer {
    NameServer::new(|kind| match kind {
        A => Answer::Address(ADDRESS),
        _ => Answer::NoSuchName,
    })
    .await
}

/// Whatever the policy accepts is asked for as it is.
#[tokio::test]
async fn a_name_with_an_underscore_is_resolved() {
    let server = knowing().await;
    let resolver = asking([&server]);
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));
    for name in [
        "my_app.example.com",
        "_dmarc._x_.example.com",
        "a__b.c--d.example.com",
        "_.example.com",
        "3.4.example.com",
        "xn--bcher-kva.example.com",
        "printer.corp.local",
        "api.default.svc.cluster.local",
        "intranet",
        &longest,
    ] {
        let policy = EndpointPolicy::public().with_insecure_private_networks();
        let endpoint = policy.check(&format!("https://{name}/")).unwrap();
        assert_eq!(endpoint.host(), name);
        assert_eq!(resolver.resolve(name).await.unwrap(), [ADDRESS], "{name}");
        assert!(server.asked().iter().all(|asked| asked == name), "{name}");
    }
}

fn files(resolv_conf: &str, hosts: &str) -> (TempDir, SystemResolver) {
    let folder = tempfile::tempdir().unwrap();
    let [resolv_conf, hosts] = [("resolv.conf", resolv_conf), ("hosts", hosts)].map(|file| {
        let path = folder.path().join(file.0);
        std::fs::write(&path, file.1).unwrap();
        path
    });
    let config = SystemConfig::of_files(resolv_conf, hosts);
    (folder, SystemResolver::with_config(config, 100))
}

#[tokio::test]
async fn a_name_of_the_hosts_file_needs_no_name_server() {
    let hosts = "127.0.0.9 my_app.example.com\nnonsense\n::9 my_app.example.com";
    let (_folder, resolver) = files("", hosts);
    let found = resolver.resolve("my_app.example.com").await.unwrap();
    let expected = ["127.0.0.9", "::9"].map(|ip| ip.parse::<IpAddr>().unwrap());
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_name_server_that_moves_is_asked_where_it_is() {
    let (old, new) = (unknowing().await, knowing().await);
    let resolver = asking([&old]);
    assert!(resolver.resolve("receiver.example.com").await.is_err());
    assert!(!old.asked().is_empty());

    lock(&resolver.system).config = SystemConfig::asking(vec![new.config.clone()]);
    let found = resolver.resolve("receiver.example.com").await;
    assert_eq!(found.unwrap(), [ADDRESS]);
    assert!(old.asked().is_empty());
}

/// However many look-ups there are, no more sockets are open, and each has its turn.
#[tokio::test]
async fn sockets_of_look_ups_are_counted() {
    const SOCKETS: usize = 3;
    let server = knowing().await;
    let config = SystemConfig::asking(vec![server.config.clone()]);
    let resolver = SystemResolver::with_config(config, SOCKETS);
    let names = (0..50).map(|at| format!("receiver-{at}.example.com"));
    let lookups: Vec<_> = names.map(|name| resolver.resolve(&name)).collect();
    let most = AtomicUsize::new(0);
    let watched = lookups.into_iter().map(|mut lookup| {
        let (sockets, most) = (&resolver.sockets, &most);
        poll_fn(move |cx| {
            let polled = lookup.as_mut().poll(cx);
            most.fetch_max(SOCKETS - sockets.available_permits(), Ordering::SeqCst);
            polled
        })
    });
    for found in futures::future::join_all(watched).await {
        assert_eq!(found.unwrap(), [ADDRESS]);
    }
    assert!((1..=SOCKETS).contains(&most.into_inner()));
    assert_eq!(resolver.sockets.available_permits(), SOCKETS);
}

/// Those of look-ups that stall as well, and they are given back.
#[tokio::test(start_paused = true)]
async fn a_look_up_that_stalls_has_four_sockets_at_most() {
    let server = NameServer::new(|_| Answer::Nothing).await;
    let resolver = asking([&server]);
    let mut lookup = resolver.resolve("receiver.example.com");
    let mut fewest = usize::MAX;
    let found = poll_fn(|cx| {
        let polled = lookup.as_mut().poll(cx);
        fewest = fewest.min(resolver.sockets.available_permits());
        polled
    });
    assert!(found.await.is_err());
    drop(lookup);
    assert!(fewest >= 100 - SOCKETS_OF_A_LOOKUP, "{fewest}");
    drop(server);
    yield_now().await;
    assert_eq!(resolver.sockets.available_permits(), 100);
}

#[tokio::test]
async fn no_search_list_applies() {
    let server = unknowing().await;
    let resolver = asking([&server]);
    for name in ["receiver.example.com", "intranet", "127.1", "2130706433"] {
        assert!(resolver.resolve(name).await.is_err(), "{name}");
        let asked = server.asked();
        assert!(!asked.is_empty(), "{name}");
        assert!(asked.iter().all(|asked| asked == name), "{asked:?}");
    }
}

#[tokio::test]
async fn one_name_server_is_asked_at_a_time() {
    let servers = [unknowing().await, unknowing().await];
    let resolver = asking(&servers);
    assert!(resolver.resolve("receiver.example.com").await.is_err());
    let asked = servers.map(|server| server.asked());
    assert!(asked.iter().any(Vec::is_empty), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_family_that_is_never_answered_does_not_hide_the_other() {
    let server = NameServer::new(|kind| match kind {
        A => Answer::Address(Ipv4Addr::new(93, 184, 216, 34)),
        _ => Answer::Nothing,
    })
    .await;
    let resolver = Arc::new(asking([&server]));
    let resolver = JudgingResolver::new(resolver, EndpointPolicy::public(), 1);
    let found = resolver.resolve("receiver.example.com").await.unwrap();
    assert_eq!(found, [Ipv4Addr::new(93, 184, 216, 34)]);
}
