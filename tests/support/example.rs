//! An example that runs as a process of its own.

use std::{
    future::Future,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

pub(crate) struct Example {
    child: Child,
    pub(crate) stdout: Lines,
    #[allow(dead_code, reason = "not every test reads it")]
    pub(crate) stderr: Lines,
}

/// What it prints.
pub(crate) struct Lines(BufReader<Box<dyn AsyncRead + Unpin + Send>>);

impl Example {
    /// Starts an example that cargo has built: `cargo test` does, unless it is told a target.
    pub(crate) fn start(name: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let test = std::env::current_exe().unwrap();
        let built = test.parent().and_then(|deps| deps.parent()).unwrap();
        let path = built.join("examples").join(name);
        let mut child = Command::new(path.with_extension(std::env::consts::EXE_EXTENSION))
            .args(args)
            .env_remove("RUST_LOG")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("`cargo build --examples` builds it");
        Self {
            stdout: Lines(BufReader::new(Box::new(child.stdout.take().unwrap()))),
            stderr: Lines(BufReader::new(Box::new(child.stderr.take().unwrap()))),
            child,
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let process = self.child.id().expect("it is running").to_string();
        let sent = std::process::Command::new("kill")
            .args(["-s", name, &process])
            .status();
        assert!(sent.unwrap().success());
    }

    pub(crate) async fn exit(&mut self) -> ExitStatus {
        within(self.child.wait()).await.unwrap()
    }
}

impl Lines {
    /// Reads up to a line with this text in it, and returns it.
    pub(crate) async fn line_with(&mut self, text: &str) -> String {
        let mut read = String::new();
        let found = async {
            loop {
                let start = read.len();
                if self.0.read_line(&mut read).await.unwrap() == 0 {
                    return None;
                }
                if read[start..].contains(text) {
                    return Some(start);
                }
            }
        };
        match timeout(LONG, found).await {
            Ok(Some(start)) => read[start..].trim_end().to_owned(),
            _ => panic!("{text} is not in\n{read}"),
        }
    }

    pub(crate) async fn rest(&mut self) -> String {
        let mut read = String::new();
        self.0.read_to_string(&mut read).await.unwrap();
        read
    }
}

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(60);

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    timeout(LONG, future).await.expect("it ends")
}
