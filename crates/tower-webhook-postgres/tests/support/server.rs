//! A PostgreSQL server that ends with the test process. Its parent is a shell that waits for end of file on a
//! pipe from this process, and then stops the server by its process id. That works after a panic, and when the
//! test process is killed.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use super::programs::{as_user, binaries, free_port, skip};

pub(crate) struct Server {
    folder: PathBuf,
    binaries: PathBuf,
    settings: Vec<String>,
    port: u16,
    running: Option<Running>,
}

struct Running {
    shell: Child,
    /// Closing it stops the server.
    pipe: ChildStdin,
    pid: String,
}

/// The server of this test binary; `None` if PostgreSQL is not installed: the test is skipped.
pub(crate) fn shared() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(&[])).as_ref()
}

/// A folder of that user's.
fn new_folder() -> PathBuf {
    let made = as_user(Path::new("mktemp"))
        .args(["-d", "--suffix=.webhook-postgres"])
        .current_dir("/")
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    PathBuf::from(String::from_utf8(made.stdout).unwrap().trim())
}

impl Server {
    /// Starts a server with settings of the form `name=value`. It listens on a Unix socket, and on TCP only if
    /// `listen_addresses` is set.
    pub(crate) fn start(settings: &[&str]) -> Option<Self> {
        Self::start_with(settings, &[])
    }

    /// The same with additional files in the data folder, readable by the server alone.
    pub(crate) fn start_with(settings: &[&str], files: &[(&str, &str)]) -> Option<Self> {
        let Some(binaries) = binaries() else {
            skip("PostgreSQL (the package postgresql)");
            return None;
        };
        let folder = new_folder();
        let initialised = as_user(&binaries.join("initdb"))
            .args([
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
                "-N",
                "-D",
            ])
            .arg(folder.join("data"))
            .current_dir("/")
            .output()
            .unwrap();
        assert!(initialised.status.success(), "{initialised:?}");
        let mut server = Self {
            folder,
            binaries,
            settings: settings.iter().map(|&setting| setting.to_owned()).collect(),
            port: free_port(),
            running: None,
        };
        for (name, text) in files {
            server.write(name, text);
        }
        server.run();
        Some(server)
    }

    fn write(&self, name: &str, text: &str) {
        let mut shell = as_user(Path::new("sh"))
            .args(["-c", "umask 077; cat > \"$0\""])
            .arg(self.data().join(name))
            .current_dir("/")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = shell.stdin.take().unwrap();
        pipe.write_all(text.as_bytes()).unwrap();
        drop(pipe);
        assert!(shell.wait().unwrap().success());
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The path of its Unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join(format!(".s.PGSQL.{}", self.port))
    }

    pub(crate) fn url(&self) -> String {
        let folder = self.folder.display();
        format!(
            "host={folder} port={} user=postgres dbname=postgres",
            self.port
        )
    }

    /// Starts the server, and waits until it takes connections. Where processes of one that was killed
    /// still end, it is started again.
    pub(crate) fn run(&mut self) {
        let began = Instant::now();
        while !self.run_once() {
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(began.elapsed() < Duration::from_secs(60), "{}", log());
        }
    }

    fn run_once(&mut self) -> bool {
        let script =
            "trap '' INT; \"$@\" >> \"$LOG\" 2>&1 < /dev/null & pid=$!; echo $pid; read -r word
            kill -INT $pid 2> /dev/null; wait $pid 2> /dev/null
            if [ \"$word\" != keep ]; then rm -rf \"$FOLDER\"; fi";
        let mut command = as_user(Path::new("env"));
        command
            .arg(format!("LOG={}/log", self.folder.display()))
            .arg(format!("FOLDER={}", self.folder.display()))
            .args(["sh", "-c", script, "sh"])
            .arg(self.binaries.join("postgres"))
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(&self.folder)
            .args(["-p", &self.port.to_string(), "-c", "listen_addresses="]);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        let mut shell = command
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pid = String::new();
        let stdout = shell.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut pid).unwrap();
        let pipe = shell.stdin.take().unwrap();
        let pid = pid.trim().to_owned();
        self.running = Some(Running { shell, pipe, pid });
        let is_ready = self.is_ready_in_time();
        if !is_ready {
            self.leave("keep");
        }
        is_ready
    }

    /// `false` where it has ended.
    fn is_ready_in_time(&self) -> bool {
        let began = Instant::now();
        loop {
            let asked = Command::new(self.binaries.join("pg_isready"))
                .arg("-q")
                .args(["-p", &self.port.to_string(), "-h"])
                .arg(&self.folder)
                .status();
            if asked.unwrap().success() {
                return true;
            }
            if self.has_ended() {
                return false;
            }
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(began.elapsed() < Duration::from_secs(60), "{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Its shell learns of that later: it is a process that nobody has waited for yet.
    fn has_ended(&self) -> bool {
        let pid = &self.running.as_ref().expect("it was started").pid;
        let asked = Command::new("ps").args(["-o", "stat=", "-p", pid]).output();
        let state = asked.unwrap().stdout;
        state.is_empty() || state.starts_with(b"Z")
    }

    /// A server that follows this one, and takes its place once it is [promoted](Self::promote).
    pub(crate) fn standby(&self) -> Self {
        let folder = new_folder();
        let copied = as_user(&self.binaries.join("pg_basebackup"))
            .args([
                "--write-recovery-conf",
                "--checkpoint=fast",
                "--dbname",
                &self.url(),
            ])
            .arg("--pgdata")
            .arg(folder.join("data"))
            .current_dir("/")
            .output()
            .unwrap();
        assert!(copied.status.success(), "{copied:?}");
        let mut standby = Self {
            folder,
            binaries: self.binaries.clone(),
            settings: self.settings.clone(),
            port: free_port(),
            running: None,
        };
        standby.run();
        standby
    }

    /// Has a standby take writes, and waits until it does.
    pub(crate) fn promote(&self) {
        let promoted = as_user(&self.binaries.join("pg_ctl"))
            .args(["promote", "--wait", "-D"])
            .arg(self.data())
            .current_dir("/")
            .output()
            .unwrap();
        assert!(promoted.status.success(), "{promoted:?}");
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let running = self.running.as_ref().expect("it runs");
        let killed = Command::new("kill").args(["-9", &running.pid]).status();
        assert!(killed.unwrap().success());
        self.leave("keep");
    }

    /// A fast shutdown.
    pub(crate) fn stop(&mut self) {
        self.leave("keep");
    }

    fn leave(&mut self, word: &str) {
        if let Some(Running {
            mut shell,
            mut pipe,
            ..
        }) = self.running.take()
        {
            let _ = writeln!(pipe, "{word}");
            drop(pipe);
            let _ = shell.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        match self.running {
            Some(_) => self.leave("remove"),
            None => drop(fs::remove_dir_all(&self.folder)),
        }
    }
}
