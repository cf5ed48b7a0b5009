//! Processes whose clock is wrong: Debian's package `faketime`.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{fs, path::PathBuf};

/// What a process has in its environment whose wall clock is off by this, such as `-1h`; its steady clock is
/// right. Without the package it says that it was skipped, and with `TOWER_WEBHOOK_FAKETIME=required` it fails.
pub(crate) fn environment(off_by: &str) -> Option<[(&'static str, String); 3]> {
    let found = library();
    let is_required =
        std::env::var("TOWER_WEBHOOK_FAKETIME").is_ok_and(|value| value == "required");
    assert!(found.is_some() || !is_required, "no faketime");
    let Some(library) = found else {
        eprintln!("SKIPPED: there is no faketime");
        return None;
    };
    Some([
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME", off_by.to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ])
}

fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?;
    let mut libraries = folders.filter_map(|folder| {
        let library = folder.ok()?.path().join("faketime/libfaketime.so.1");
        library.is_file().then_some(library)
    });
    libraries.next()
}
