//! Finding the servers' programs, and the user that runs them.

use std::{
    env, fs,
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

/// With the value `required`, tests fail instead of being skipped.
const VARIABLE: &str = "TOWER_WEBHOOK_POSTGRES";

/// Reports on stderr that a test is skipped, or fails it.
pub(crate) fn skip(what: &str) {
    assert!(
        env::var(VARIABLE).as_deref() != Ok("required"),
        "{VARIABLE}=required, and there is no {what}"
    );
    let mut stderr = std::io::stderr();
    let _ = writeln!(
        stderr,
        "\nSKIPPED: there is no {what}: nothing of this is tested\n"
    );
}

/// A command that runs as another user if this one is root, which PostgreSQL refuses.
pub(crate) fn as_user(program: &Path) -> Command {
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    if !is_root {
        return Command::new(program);
    }
    let has_user = Command::new("id").arg("postgres").output().unwrap();
    let user = match has_user.status.success() {
        true => "postgres",
        false => "nobody",
    };
    let mut command = Command::new("runuser");
    command.args(["-u", user, "--"]).arg(program);
    command
}

/// The programs of the newest installed version.
pub(crate) fn binaries() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let version = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        let number: u32 = entry.file_name().to_str()?.parse().ok()?;
        let folder = entry.path().join("bin");
        folder.join("postgres").exists().then_some((number, folder))
    };
    let newest = versions.filter_map(version).max()?;
    Some(newest.1)
}

/// A port that is free at this moment.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
