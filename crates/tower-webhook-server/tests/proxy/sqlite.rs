//! `tower-webhook proxy` with `--outbox sqlite:PATH`.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use axum::{Router, body::Bytes, routing::post};
use rusqlite::Connection;
use tokio::net::TcpListener;

use crate::{
    process::{Process, within},
    scene::{Folder, Receiver, SECRET, SILENT, until_in_file},
};

pub(crate) struct Proxy {
    process: Process,
    address: SocketAddr,
}

impl Proxy {
    pub(crate) async fn start(upstream: &str, args: &[&str]) -> Self {
        let mut all = vec!["--listen", "127.0.0.1:0", "--insecure-private-endpoints"];
        all.extend(["--attempt-timeout", "1day", "--upstream", upstream]);
        all.extend(args);
        let mut process = crate::proxy(&all, &[]);
        let line = process.stdout.line_with("listening on http://").await;
        let address = line.rsplit('/').next().unwrap().parse().unwrap();
        Self { process, address }
    }

    /// A call whose response is read to its end.
    pub(crate) async fn call(&self, id: &str, endpoint: &str) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let call = client
            .post(format!("http://{}/run", self.address))
            .query(&[("webhookEndpoint", endpoint)])
            .header("x-request-id", id)
            .header("x-webhook-secret", SECRET)
            .body(result_of(id));
        let response = within(call.send()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(within(response.text()).await.unwrap(), result_of(id));
    }

    pub(crate) async fn die(mut self) {
        self.process.signal("KILL");
        assert_eq!(self.process.exit().await.code(), None);
    }

    /// Ends it in peace, with what it says of that.
    pub(crate) async fn end(mut self) -> String {
        self.process.signal("TERM");
        assert!(self.process.exit().await.success());
        self.process.stderr.rest().await
    }
}

fn result_of(id: &str) -> String {
    format!("the result of {id}")
}

/// A service that answers with what it was sent.
pub(crate) async fn upstream() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/run", post(|body: Bytes| async { body }));
    tokio::spawn(async { axum::serve(listener, app).await });
    format!("http://{address}")
}

pub(crate) fn outbox(folder: &Folder) -> String {
    format!("sqlite:{}", folder.file().display())
}

/// In the folder, with this added to the file's name.
fn beside(folder: &Folder, end: &str) -> PathBuf {
    format!("{}{end}", folder.file().display()).into()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// What a proxy says that does not start.
async fn complaint(args: &[&str]) -> String {
    let mut all = vec!["--listen", "127.0.0.1:0", "--upstream", "http://service"];
    all.extend(args);
    let mut process = crate::proxy(&all, &[]);
    assert_eq!(process.exit().await.code(), Some(1));
    assert_eq!(process.stdout.rest().await, "");
    let text = process.stderr.rest().await;
    text.lines().last().unwrap().to_owned()
}

#[tokio::test]
async fn what_was_answered_is_delivered_by_the_next_proxy() {
    let (folder, receiver) = (Folder::new(), Receiver::start(SILENT).await);
    let (upstream, outbox) = (upstream().await, outbox(&folder));
    let key_file = beside(&folder, ".key");
    let first = Proxy::start(&upstream, &["--outbox", &outbox]).await;
    assert_eq!(mode(&key_file), 0o600);
    let key = fs::read(&key_file).unwrap();

    let ids = ["silent-1", "silent-2", "refused-1", "refused-2", "last"];
    for id in &ids[..2] {
        first.call(id, &receiver.url()).await;
    }
    for id in &ids[2..4] {
        first.call(id, &receiver.url_not_at_first()).await;
    }
    receiver.gets(4).await;
    first.call(ids[4], &receiver.url()).await;
    first.die().await;

    receiver.answer(200);
    let second = Proxy::start(&upstream, &["--outbox", &outbox]).await;
    until_in_file(|| folder.count("TRUE") == 0).await;
    let posts = receiver.posts();
    for id in ids {
        let refused = u32::from(id.starts_with("refused"));
        let last = posts.iter().rfind(|post| post.id == id).unwrap();
        assert_eq!(last.body, result_of(id));
        assert!(last.attempt > refused, "{last:?}");
    }
    assert!(posts.iter().all(|post| post.signed), "{posts:?}");
    let end = second.end().await;
    assert!(end.contains("drained accepted=0 delivered=5 "), "{end}");
    assert_eq!(fs::read(&key_file).unwrap(), key);
}

#[tokio::test]
async fn the_key_file_can_be_named_and_a_wrong_one_is_an_error() {
    let (folder, receiver) = (Folder::new(), Receiver::start(SILENT).await);
    let (upstream, outbox) = (upstream().await, outbox(&folder));
    let (named, default) = (beside(&folder, ".named"), beside(&folder, ".key"));
    let with_named = ["--outbox", &outbox, "--outbox-key-file"];
    let with_named = [&with_named[..], &[named.to_str().unwrap()]].concat();
    let first = Proxy::start(&upstream, &with_named).await;
    assert_eq!(mode(&named), 0o600);
    assert!(!default.exists());
    first.call("sealed", &receiver.url()).await;
    first.die().await;

    let text = complaint(&["--outbox", &outbox]).await;
    let says = format!("error: {}: deliveries wait", folder.file().display());
    assert!(text.starts_with(&says), "{text}");
    assert!(text.ends_with("sealed with a key that was not given"));

    receiver.answer(200);
    let second = Proxy::start(&upstream, &with_named).await;
    until_in_file(|| folder.count("TRUE") == 0).await;
    assert!(receiver.posts().iter().all(|post| post.signed));
    assert!(second.end().await.contains(" delivered=1 "));
}

#[tokio::test]
async fn what_was_sealed_with_an_older_key_is_delivered() {
    let (folder, receiver) = (Folder::new(), Receiver::start(SILENT).await);
    let (upstream, outbox) = (upstream().await, outbox(&folder));
    let first = Proxy::start(&upstream, &["--outbox", &outbox]).await;
    first.call("older", &receiver.url()).await;
    first.die().await;

    receiver.answer(200);
    let [new, older] = [".new", ".key"].map(|end| beside(&folder, end));
    let (new, older) = (new.to_str().unwrap(), older.to_str().unwrap());
    let args = ["--outbox", &outbox, "--outbox-key-file", new];
    let args = [&args[..], &["--outbox-older-key-file", older]].concat();
    let second = Proxy::start(&upstream, &args).await;
    second.call("newer", &receiver.url()).await;
    until_in_file(|| folder.count("TRUE") == 0).await;
    assert!(receiver.posts().iter().all(|post| post.signed));
    assert!(second.end().await.contains(" delivered=2 "));
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named_and_kept() {
    let newer = |path: &Path| {
        let conn = Connection::open(path).unwrap();
        conn.execute_batch("PRAGMA user_version = 1000").unwrap();
    };
    let damaged = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        bytes.truncate(bytes.len() / 2);
        fs::write(path, bytes).unwrap();
    };
    let foreign = |path: &Path| fs::write(path, "a text of any kind".repeat(9)).unwrap();
    type Spoil = fn(&Path);
    let cases: [(&str, Spoil, &str); 4] = [
        ("", newer, "written by a newer version"),
        ("", damaged, "damaged"),
        ("", foreign, "not a SQLite database"),
        (".key", foreign, "neither 32 bytes nor 64 hexadecimal"),
    ];
    for (end, spoil, says) in cases {
        let folder = Folder::new();
        drop(folder.outbox());
        until_in_file(|| !folder.log().exists()).await;
        let spoilt = beside(&folder, end);
        spoil(&spoilt);
        let before = fs::read(&spoilt).unwrap();
        let text = complaint(&["--outbox", &outbox(&folder)]).await;
        let names = text.starts_with(&format!("error: {}: ", spoilt.display()));
        assert!(names && text.contains(says), "{text}");
        assert_eq!(fs::read(&spoilt).unwrap(), before);
    }
}
