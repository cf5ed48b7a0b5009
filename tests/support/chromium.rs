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

/// Ends with the test, and leaves nothing.
pub(crate) struct Chromium {
    child: Child,
    profile: TempDir,
}

/// Without one it says that it was skipped, and with `TOWER_WEBHOOK_BROWSER=required` it fails.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path);
    let found = folders.find_map(|folder| {
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let mut files = names.iter().map(|name| folder.join(name));
        files.find(|file| file.is_file())
    });
    let is_required = std::env::var("TOWER_WEBHOOK_BROWSER").is_ok_and(|value| value == "required");
    assert!(found.is_some() || !is_required, "no chromium");
    if found.is_none() {
        eprintln!("SKIPPED: there is no chromium");
    }
    found
}

impl Chromium {
    /// One that shows this page, where there is one.
    pub(crate) fn open(page: &str) -> Option<Self> {
        let program = program()?;
        let profile = tempfile::tempdir().unwrap();
        let child = Command::new(program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
            ])
            .args(["--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync"])
            .args(["--remote-debugging-port=0", "--disable-dev-shm-usage"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(page)
            .env("TMPDIR", profile.path())
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self { child, profile })
    }

    #[allow(dead_code)] // not every test drives it
    pub(crate) fn profile(&self) -> &Path {
        self.profile.path()
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
