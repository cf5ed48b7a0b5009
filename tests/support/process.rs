//! A program that runs as a process of its own.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    ffi::OsStr,
    future::Future,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::mpsc,
    time::timeout,
};

pub(crate) struct Process {
    child: Child,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
}

/// What it prints, read as it does so that it never waits for that.
pub(crate) struct Lines(mpsc::UnboundedReceiver<String>);

impl Process {
    /// Starts an example that cargo has built: `cargo test` does, unless it is told a target.
    pub(crate) fn example(name: &str, args: &[&str]) -> Self {
        let test = std::env::current_exe().unwrap();
        let built = test.parent().and_then(|deps| deps.parent()).unwrap();
        let path = built.join("examples").join(name);
        let path = path.with_extension(std::env::consts::EXE_EXTENSION);
        Self::start(path, args, &[])
    }

    pub(crate) fn start(program: impl AsRef<OsStr>, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut child = Command::new(program)
            .args(args)
            .env_remove("RUST_LOG")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("cargo has built it");
        Self {
            stdout: Lines::of(child.stdout.take().unwrap()),
            stderr: Lines::of(child.stderr.take().unwrap()),
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
    fn of(printed: impl AsyncRead + Send + Unpin + 'static) -> Self {
        let (read, lines) = mpsc::unbounded_channel();
        let mut printed = BufReader::new(printed).lines();
        tokio::spawn(async move {
            while let Ok(Some(line)) = printed.next_line().await {
                let _ = read.send(line);
            }
        });
        Self(lines)
    }

    /// Reads up to a line with this text in it, and returns it.
    pub(crate) async fn line_with(&mut self, text: &str) -> String {
        let mut read = String::new();
        while let Ok(Some(line)) = timeout(LONG, self.0.recv()).await {
            if line.contains(text) {
                return line;
            }
            read.push_str(&line);
            read.push('\n');
        }
        panic!("{text} is not in\n{read}");
    }

    /// The next line; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<String> {
        within(self.0.recv()).await
    }

    /// Reads to the end.
    pub(crate) async fn rest(&mut self) -> String {
        let mut read = String::new();
        while let Some(line) = within(self.0.recv()).await {
            read.push_str(&line);
            read.push('\n');
        }
        read
    }
}

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(60);

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    timeout(LONG, future).await.expect("it ends")
}
