//! Debian's Chromium, without a window.

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use tempfile::TempDir;

/// A browser that starts for the first time takes its time.
pub(crate) const STARTING: Duration = Duration::from_secs(180);

pub(crate) const CHROMIUM: &[&str] = &["chromium", "chromium-browser", "google-chrome"];

/// What a browser is started with, whoever starts it.
pub(crate) const ARGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
];

/// A program and all that it starts: they end with the test, and leave nothing.
pub(crate) struct Chromium {
    child: Child,
    folder: TempDir,
}

pub(crate) fn is_required() -> bool {
    std::env::var("TOWER_WEBHOOK_BROWSER").is_ok_and(|value| value == "required")
}

/// Without one it says that it was skipped, and with `TOWER_WEBHOOK_BROWSER=required` it fails.
pub(crate) fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path);
    let found = folders.find_map(|folder| {
        let mut files = names.iter().map(|name| folder.join(name));
        files.find(|file| file.is_file())
    });
    assert!(found.is_some() || !is_required(), "no {}", names[0]);
    if found.is_none() {
        eprintln!("SKIPPED: there is no {}", names[0]);
    }
    found
}

impl Chromium {
    /// One that shows this page, where there is one.
    #[allow(dead_code)] // some tests drive it
    pub(crate) fn open(page: &str) -> Option<Self> {
        let program = program(CHROMIUM)?;
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        command
            .args(ARGS)
            .arg("--remote-debugging-port=0")
            .arg(profile(folder.path()))
            .arg(page)
            .stdout(Stdio::null());
        Some(Self::start(command, folder))
    }

    /// Its files, and those of all that it starts, are in this folder.
    pub(crate) fn start(mut command: Command, folder: TempDir) -> Self {
        let child = command
            .env("TMPDIR", folder.path())
            .env("XDG_CONFIG_HOME", folder.path())
            .process_group(0)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    #[allow(dead_code)] // not every test drives it
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sends a signal to all of its processes. Says whether there are any.
    fn signal(&self, name: &str) -> bool {
        let group = format!("-{}", self.child.id());
        let sent = Command::new("kill")
            .args(["-s", name, "--", &group])
            .stderr(Stdio::null())
            .status();
        sent.is_ok_and(|sent| sent.success())
    }
}

/// What tells a browser to keep its profile in this folder.
pub(crate) fn profile(folder: &Path) -> String {
    format!("--user-data-dir={}", folder.join("profile").display())
}

impl Drop for Chromium {
    fn drop(&mut self) {
        self.signal("KILL");
        let _ = self.child.wait();
        // Those that are left write into the folder, which could not be removed.
        for _ in 0..50 {
            if !self.signal("0") {
                break;
            }
            sleep(Duration::from_millis(20));
        }
    }
}
