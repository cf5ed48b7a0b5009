//! A `nats-server` that ends with its value.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// The oldest that the outbox takes.
const OLDEST: [u32; 3] = [2, 12, 3];
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    child: Child,
    folder: TempDir,
    port: u16,
    settings: String,
}

/// The server's program; `None`, said aloud, where there is none and none is required.
pub(crate) fn program() -> Option<PathBuf> {
    let named = env::var_os("TOWER_WEBHOOK_NATS_SERVER").map(PathBuf::from);
    let program = named.unwrap_or_else(|| "nats-server".into());
    let why = match Command::new(&program).arg("--version").output() {
        Err(_) => "there is no nats-server".to_owned(),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            match version(&text) {
                Some(found) if found >= OLDEST => return Some(program),
                _ => format!("{} is too old, or none", text.trim()),
            }
        }
    };
    let is_required = env::var("TOWER_WEBHOOK_NATS").is_ok_and(|set| set == "required");
    assert!(!is_required, "{why}: see the README of tower-webhook-nats");
    eprintln!("\nSKIPPED, NOTHING WAS TESTED: {why}; see the README of tower-webhook-nats\n");
    None
}

fn version(text: &str) -> Option<[u32; 3]> {
    let (_, numbers) = text.trim().rsplit_once('v')?;
    let mut numbers = numbers.split(['.', '-']).map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some([next()?, next()?, next()?])
}

impl Server {
    /// `None` where there is no program to run.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with("max_payload: 8MB")
    }

    pub(crate) fn start_with(settings: &str) -> Option<Self> {
        let program = program()?;
        let folder = tempfile::tempdir().unwrap();
        let (child, port) = run(&program, folder.path(), -1, settings);
        Some(Self {
            child,
            folder,
            port,
            settings: settings.to_owned(),
        })
    }

    pub(crate) fn address(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    #[allow(dead_code)] // not every test program needs it
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// With SIGKILL.
    #[allow(dead_code)]
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// By its name.
    #[allow(dead_code)]
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &kill]).status();
        assert!(sent.unwrap().success());
    }

    /// At the same port, with the same store.
    #[allow(dead_code)]
    pub(crate) fn restart(&mut self) {
        let program = program().expect("it was there");
        let port = i32::from(self.port);
        (self.child, _) = run(&program, self.folder.path(), port, &self.settings);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Says where it listens, once it does.
fn run(program: &Path, folder: &Path, port: i32, settings: &str) -> (Child, u16) {
    let config = folder.join("server.conf");
    let path = folder.display();
    let text = format!(
        "listen: \"127.0.0.1:{port}\"\nports_file_dir: \"{path}\"\n\
         jetstream {{ store_dir: \"{path}/store\", sync_interval: always }}\n{settings}\n"
    );
    fs::write(&config, text).unwrap();
    let log = fs::File::create(folder.join("server.log")).unwrap();
    let mut child = Command::new(program)
        .arg("--config")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let ports = folder.join(format!("nats-server_{}.ports", child.id()));
    let began = Instant::now();
    loop {
        let text = fs::read(&ports).unwrap_or_default();
        if let Ok(ports) = serde_json::from_slice::<serde_json::Value>(&text) {
            let address = ports["nats"][0].as_str().unwrap();
            let port = address.rsplit(':').next().unwrap().parse().unwrap();
            return (child, port);
        }
        let has_ended = child.try_wait().unwrap().is_some();
        if has_ended || began.elapsed() > PATIENCE {
            let _ = child.kill();
            let log = fs::read_to_string(folder.join("server.log"));
            panic!("the server does not start:\n{}", log.unwrap_or_default());
        }
        sleep(Duration::from_millis(10));
    }
}
