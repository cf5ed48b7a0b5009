//! Who may read the files.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use tower_webhook::outbox::SealingKey;
use tower_webhook_sqlite::SqliteOutbox;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use crate::scene::{Folder, key};

/// The messages of this thread's log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut text = event.metadata().level().to_string();
        event.record(&mut Text(&mut text));
        self.0.lock().unwrap().push(text);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Text<'t>(&'t mut String);

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}

/// What is logged meanwhile.
fn logged(run: impl FnOnce()) -> Vec<String> {
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), run);
    let mut lines = log.0.lock().unwrap();
    lines.retain(|line| line.starts_with("WARN"));
    std::mem::take(&mut *lines)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn new_files_are_for_their_owner() {
    let folder = Folder::new();
    let mut outbox = None;
    assert_eq!(logged(|| outbox = Some(folder.outbox())), [""; 0]);
    for file in [folder.file(), folder.log(), folder.shared_memory()] {
        assert_eq!(mode(&file), 0o600, "{file:?}");
    }
}

#[test]
fn a_file_that_others_may_read_is_warned_of() {
    let folder = Folder::new();
    drop(folder.outbox());
    // The thread that closes the file may still be there.
    while folder.log().exists() {
        thread::yield_now();
    }
    for open in [0o644, 0o640, 0o602] {
        set_mode(&folder.file(), open);
        let lines = logged(|| drop(SqliteOutbox::open(folder.file(), key(1)).unwrap()));
        assert!(
            lines
                .iter()
                .any(|line| line.contains("others than its owner"))
        );
    }
}

#[test]
fn a_log_that_others_may_read_is_warned_of() {
    let folder = Folder::new();
    let outbox = folder.outbox();
    for file in [folder.log(), folder.shared_memory()] {
        set_mode(&file, 0o644);
        let lines = logged(|| drop(folder.outbox()));
        assert_eq!(lines.len(), 1, "{lines:?}");
        set_mode(&file, 0o600);
    }
    assert_eq!(logged(|| drop(folder.outbox())), [""; 0]);
    drop(outbox);
}

#[test]
fn a_file_of_somebody_else_is_warned_of() {
    let folder = Folder::new();
    drop(folder.outbox());
    while folder.log().exists() {
        thread::yield_now();
    }
    let key_file = folder.file().with_extension("key");
    SealingKey::from_file_or_new(&key_file).unwrap();
    if chown(folder.file(), Some(12_345), None).is_err() {
        eprintln!("SKIPPED: only root can give a file away");
        return;
    }
    chown(&key_file, Some(12_345), None).unwrap();
    let lines = logged(|| drop(folder.outbox()));
    assert!(
        lines.iter().any(|line| line.contains("another user")),
        "{lines:?}"
    );
    let lines = logged(|| drop(SealingKey::from_file(&key_file).unwrap()));
    assert!(
        lines.iter().any(|line| line.contains("another user")),
        "{lines:?}"
    );
}
