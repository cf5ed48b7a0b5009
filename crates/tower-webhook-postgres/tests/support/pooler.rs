//! PgBouncer in transaction mode, in front of a server.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use super::{
    programs::{as_user, free_port, skip},
    server::Server,
};

/// Stopped on drop, and when the test process ends.
pub(crate) struct Pooler {
    folder: PathBuf,
    port: u16,
    shell: Child,
}

impl Pooler {
    /// `None` if PgBouncer is not installed: the test is skipped.
    pub(crate) fn start(server: &Server) -> Option<Self> {
        let binary = Path::new("/usr/sbin/pgbouncer");
        if !binary.exists() {
            skip("PgBouncer (the package pgbouncer)");
            return None;
        }
        let (folder, port) = (server.folder().to_owned(), free_port());
        let (there, of_server) = (folder.display(), server.port());
        // With two connections, nearly every transaction runs in another session than the one before.
        let ini = format!(
            "[databases]\npostgres = host={there} port={of_server} user=postgres\n[pgbouncer]\n\
             listen_addr =\nlisten_port = {port}\nunix_socket_dir = {there}\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 200\n"
        );
        let path = folder.join(format!("pgbouncer-{port}.ini"));
        fs::write(&path, ini).unwrap();
        let script =
            "trap '' INT; \"$@\" > \"$0.log\" 2>&1 < /dev/null & pid=$!; echo $pid; read -r word
            kill -INT $pid 2> /dev/null; wait $pid 2> /dev/null";
        let mut shell = as_user(Path::new("sh"))
            .args(["-c", script])
            .arg(folder.join(format!("pgbouncer-{port}")))
            .arg(binary)
            .arg(&path)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let pooler = Self {
            folder,
            port,
            shell,
        };
        pooler.wait_until_ready();
        Some(pooler)
    }

    fn wait_until_ready(&self) {
        let socket = self.folder.join(format!(".s.PGSQL.{}", self.port));
        let began = Instant::now();
        while UnixStream::connect(&socket).is_err() {
            let log = self.folder.join(format!("pgbouncer-{}.log", self.port));
            let log = || fs::read_to_string(&log).unwrap_or_default();
            assert!(began.elapsed() < Duration::from_secs(30), "{}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn url(&self) -> String {
        let folder = self.folder.display();
        format!(
            "host={folder} port={} user=postgres dbname=postgres",
            self.port
        )
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
