//! What the tests find in a database that promises less, which shows that they can fail.

use std::{collections::HashMap, path::Path};

use fastrand::Rng;
use rusqlite::{Connection, params};

use crate::{
    all_is_there,
    camera::Acknowledged,
    can_mount, lab,
    lab::{Bench, Findings},
    process::{self, Stage, Test, digest},
};

const FILE: &str = "rows.db";

/// Commits rows until all images were taken.
pub(crate) fn program(test: &Test, seed: u64, synchronous: &str) {
    let conn = Connection::open(test.path(FILE)).unwrap();
    conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
        .unwrap();
    conn.pragma_update(None, "synchronous", synchronous)
        .unwrap();
    conn.pragma_update(None, "wal_autocheckpoint", 100).unwrap();
    conn.execute_batch("CREATE TABLE kept (id INTEGER PRIMARY KEY, body BLOB)")
        .unwrap();
    test.next_stage();
    let mut rng = Rng::with_seed(seed);
    for id in 0.. {
        if test.is_done() {
            break;
        }
        let mut body = vec![0; rng.usize(1..4_096)];
        rng.fill(&mut body);
        conn.execute("INSERT INTO kept VALUES (?1, ?2)", params![id, body])
            .unwrap();
        test.acknowledged(&id, &body);
    }
}

fn check(root: &Path, acknowledged: &Acknowledged) -> Result<(), String> {
    let rows = rows(root).map_err(|error| format!("it cannot be read: {error}"))?;
    let is_there = |(id, digest): (&String, &String)| rows.get(id) == Some(digest);
    let there = acknowledged.iter().filter(|row| is_there(*row)).count();
    match acknowledged.len() - there {
        0 => Ok(()),
        lost => Err(format!("{lost} lost")),
    }
}

fn rows(root: &Path) -> rusqlite::Result<HashMap<String, String>> {
    let conn = Connection::open(root.join(FILE))?;
    let mut rows = conn.prepare("SELECT CAST(id AS TEXT), body FROM kept")?;
    let rows = rows.query_map([], |row| {
        Ok((row.get(0)?, digest(&row.get::<_, Vec<u8>>(1)?)))
    })?;
    rows.collect()
}

fn run(synchronous: &str) -> Option<Findings> {
    if !can_mount() {
        return None;
    }
    let stages = [(0, 1), (20, 200)].map(|(images, gap)| Stage { images, gap });
    let fill = |bench: &Bench| {
        let program = format!("rows {} {synchronous}", bench.seed);
        process::run(bench, &program, &stages, |_| {});
    };
    Some(lab(40).run(fill, check).unwrap())
}

#[test]
fn a_log_that_is_not_synced_loses_what_was_acknowledged() {
    let Some(found) = run("NORMAL") else { return };
    println!("{found}");
    assert!(!found.failures.is_empty(), "nothing is lost: {found}");
}

#[test]
fn a_log_that_is_synced_loses_nothing() {
    if let Some(found) = run("FULL") {
        all_is_there(&found);
    }
}
