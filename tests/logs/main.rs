//! What is in the log, and what must never be: the secret, and an endpoint's path and query.
//!
//! Everything is logged, by every crate in use, at TRACE. hyper's own log is left out of a build,
//! unless that is asked for with `--cfg hyper_unstable_tracing`.

mod debug;
mod steps;
#[path = "../support/mod.rs"]
mod support;

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, OnceLock},
};

use http::Request;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Starts to log, with the first call.
fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log::default();
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(log.clone())
            .init();
        log
    })
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    /// The lines that name this id.
    fn about(&self, id: &str) -> Vec<String> {
        let text = self.text();
        let named = format!("id=\"{id}\"");
        let about = text.lines().filter(|line| line.contains(&named));
        about.map(str::to_owned).collect()
    }
}

const SECRET: &str = "hush-hush-hush";
const PATH: &str = "path-of-the-endpoint";
const QUERY: &str = "query-of-the-endpoint";

fn expect_nothing_secret(text: &str) {
    for secret in [SECRET, PATH, QUERY] {
        if let Some(line) = text.lines().find(|line| line.contains(secret)) {
            panic!("{secret} in {line}");
        }
    }
    // As bytes, which is how a `Vec<u8>` is shown.
    let bytes = format!("{:?}", SECRET.as_bytes());
    assert!(!text.contains(bytes.trim_matches(['[', ']'])));
}

fn asking(url: &str, id: &str) -> Request<()> {
    Request::get(format!("/?webhookEndpoint={url}/{PATH}?token={QUERY}"))
        .header("x-request-id", id)
        .header("x-webhook-secret", SECRET)
        .body(())
        .unwrap()
}
