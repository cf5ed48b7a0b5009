//! Prometheus's own checks: `promtool`, which is in Debian's package `prometheus`.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

/// Runs it with this on standard input, and fails with what it complains of. Without one it says that it was
/// skipped, and with `TOWER_WEBHOOK_PROMTOOL=required` it fails.
pub(crate) fn promtool(args: &[&str], folder: &Path, stdin: &str) {
    let started = Command::new("promtool")
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = started else {
        let required = std::env::var("TOWER_WEBHOOK_PROMTOOL");
        assert!(
            required.map_or(true, |value| value != "required"),
            "no promtool"
        );
        eprintln!("SKIPPED: there is no promtool");
        return;
    };
    let mut input = child.stdin.take().unwrap();
    // It may complain before it has read everything.
    let _ = input.write_all(stdin.as_bytes());
    drop(input);
    let output = child.wait_with_output().unwrap();
    let [said, complained] = [output.stdout, output.stderr].map(String::from_utf8);
    assert!(
        output.status.success(),
        "promtool {args:?}: {}{}",
        said.unwrap(),
        complained.unwrap()
    );
}
