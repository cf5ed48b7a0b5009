//! How many sockets are open, in a process that may open few files.

#![cfg(target_os = "linux")]

use std::{convert::Infallible, fs, pin::pin, process::Stdio, sync::Once};

use futures::FutureExt;
use http::{Request, Response};
use http_body_util::Empty;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::{TcpListener, TcpSocket, TcpStream},
    process::{Child, Command},
};
use tower_webhook::{
    Dispatcher, EndpointPolicy, WebhookLayer,
    event::{AttemptError, EventKind, Outcome},
};

use crate::{
    TAKES,
    hostile::{Api, Receiver, Stub, found, pause, within},
};

const OPEN_FILES: usize = 256;
const DELIVERIES: usize = 1_000;

/// Drops what is sent to any address of loopback, as it has no room for another connection.
struct BlackHole {
    port: u16,
    _listeners: Vec<TcpListener>,
    _waits: Vec<TcpStream>,
}

impl BlackHole {
    async fn new() -> Self {
        let v4 = TcpSocket::new_v4().unwrap();
        v4.bind("0.0.0.0:0".parse().unwrap()).unwrap();
        let port = v4.local_addr().unwrap().port();
        let v6 = TcpSocket::new_v6().and_then(|socket| {
            socket.bind(format!("[::1]:{port}").parse().unwrap())?;
            Ok(socket)
        });
        let (mut listeners, mut waits) = (Vec::new(), Vec::new());
        for (socket, ip) in [(Some(v4), "127.0.0.1"), (v6.ok(), "[::1]")] {
            let Some(socket) = socket else { continue };
            listeners.push(socket.listen(0).unwrap());
            // There is always room for one.
            waits.push(TcpStream::connect(format!("{ip}:{port}")).await.unwrap());
        }
        Self {
            port,
            _listeners: listeners,
            _waits: waits,
        }
    }
}

/// The files that a process has open.
fn open_files(process: &Child) -> usize {
    let process = process.id().expect("it is running");
    fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_may_open_few_files_accepts_while_a_thousand_deliveries_go_nowhere() {
    let hole = BlackHole::new().await;
    let mut receiver = Receiver::new(|mut conn| async move {
        conn.request().await;
        conn.here();
        conn.say(TAKES).await;
    });
    let mut service = Command::new("sh")
        .arg("-c")
        .arg(format!("ulimit -n {OPEN_FILES} && exec \"$0\" \"$@\""))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "sockets::serves", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(service.stdout.take().unwrap()).lines();
    let mut said = async |what: &str| {
        within(async {
            loop {
                let line = lines.next_line().await.unwrap().expect("it is running");
                if let Some((_, more)) = line.split_once(what) {
                    break more.to_owned();
                }
            }
        })
        .await
    };
    let address = said("listening on ").await;

    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let call = async |endpoint: Option<String>| {
        let call = client.get(format!("http://{address}/"));
        let call = call.query(
            &endpoint
                .map(|endpoint| ("webhookEndpoint", endpoint))
                .as_slice(),
        );
        within(call.send()).await.unwrap().status()
    };
    let before = open_files(&service);
    let mut most = before;
    for at in 0..DELIVERIES {
        let endpoint = format!("http://hole-{at}.example.com:{}/", hole.port);
        assert_eq!(call(Some(endpoint)).await, 200);
        most = most.max(open_files(&service));
    }
    // By then second addresses have been tried as well.
    let mut failed = pin!(said("an attempt has failed"));
    while failed.as_mut().now_or_never().is_none() {
        assert_eq!(call(None).await, 200);
        most = most.max(open_files(&service));
    }
    assert!(most > before + OPEN_FILES / 16, "{before} and then {most}");
    // The caller has a connection, which may be another one in the meantime.
    assert!(
        most <= before + OPEN_FILES / 2 + 4,
        "{before} and then {most}"
    );

    assert_eq!(call(Some(receiver.url())).await, 200);
    receiver.reached().await;
    assert_eq!(call(Some(receiver.url())).await, 200);
}

/// A half of the sockets is for connections, however many hosts stall and wherever they are.
#[tokio::test]
async fn connections_have_half_of_the_sockets() {
    const HOSTS: usize = 100;
    let mut receiver = Receiver::at("0.0.0.0:0", |mut conn| async move {
        conn.request().await;
        conn.here();
        conn.closed().await;
    });
    let mut api = Api::with(|builder| {
        let policy = EndpointPolicy::public().with_insecure_http();
        builder
            .with_endpoint_policy(policy.with_allowed_network("127.0.0.0/8").unwrap())
            .with_max_sockets(16)
            .with_resolver(Stub(|name: &str| {
                let host = name.split('.').next().unwrap_or(name);
                found([format!("127.2.0.{host}")])
            }))
    });
    for host in 1..=HOSTS {
        api.send(&receiver.url_at(&format!("{host}.example.com")))
            .await;
    }
    receiver.reached().await;
    pause();
    for _ in 0..HOSTS {
        assert_eq!(
            api.attempted().await.outcome,
            Outcome::Failed(AttemptError::TimedOut)
        );
        // Those that were given up are closed, though the receiver may not have seen it.
        assert!(receiver.open() <= 2 * 8, "{}", receiver.open());
    }
}

#[tokio::test]
#[ignore = "the test beside it runs it, where few files may be opened"]
async fn serves() {
    let policy = EndpointPolicy::public().with_insecure_http();
    let failed = Once::new();
    let dispatcher = Dispatcher::builder()
        .with_endpoint_policy(policy.with_insecure_private_networks())
        .on_event(move |event| {
            if let EventKind::Attempted { .. } = event.kind() {
                failed.call_once(|| println!("an attempt has failed"));
            }
        })
        .with_resolver(Stub(|name: &str| {
            let hole = name
                .strip_prefix("hole-")
                .and_then(|name| name.split('.').next());
            match hole.and_then(|hole| hole.parse::<u16>().ok()) {
                Some(hole) => {
                    let [high, low] = hole.to_be_bytes();
                    found([format!("127.1.{high}.{low}"), "::1".to_owned()])
                }
                None => found(["127.0.0.1"]),
            }
        }))
        .build();
    let layer = WebhookLayer::new().with_dispatcher(dispatcher);
    let service = tower::ServiceBuilder::new().layer(layer).service_fn(
        async |_: Request<axum::body::Body>| {
            Ok::<_, Infallible>(Response::new(Empty::<bytes::Bytes>::new()))
        },
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("listening on {}", listener.local_addr().unwrap());
    let app = axum::Router::new().fallback_service(service);
    axum::serve(listener, app).await.unwrap();
}
