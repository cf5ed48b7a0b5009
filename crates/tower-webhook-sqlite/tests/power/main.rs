//! Loss of power at any moment: what was acknowledged is there, and every file opens.
//!
//! A file system in memory remembers what was synced. Images of it are taken at changes that chance
//! chooses: of what was not synced, some is dropped, reordered or torn. It takes `/dev/fuse` and the right
//! to mount; without them the tests say so and pass, or fail with `TOWER_WEBHOOK_FUSE=required`.
//! `TOWER_WEBHOOK_IMAGES` is the number of images, `TOWER_WEBHOOK_SEED` what chance begins with.

#![cfg(target_os = "linux")]

mod camera;
mod control;
mod crash;
mod disk;
mod fs;
mod image;
mod lab;
mod load;
mod mount;
mod process;
mod watched;

use std::{
    fs::File,
    io::{self, Write},
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::{
    image::{DATABASE, KEY},
    lab::{Bench, Findings, Lab},
    load::Load,
    mount::Mount,
    process::Stage,
};

/// A number out of the environment.
fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("it is a number"))
}

fn lab(images: usize) -> Lab {
    Lab {
        seed: setting("TOWER_WEBHOOK_SEED").unwrap_or(0x7477_686b),
        images,
    }
}

/// Whether the tests can run here; says so where they cannot.
fn can_mount() -> bool {
    let Err(error) = Mount::new(None) else {
        return true;
    };
    let is_required = std::env::var("TOWER_WEBHOOK_FUSE").is_ok_and(|set| set == "required");
    assert!(!is_required, "FUSE is required: {error}");
    // Past what the test harness holds back of tests that pass.
    let _ = writeln!(
        io::stderr(),
        "SKIPPED: a loss of power is not tested, as nothing can be mounted here: {error}"
    );
    false
}

fn all_is_there(found: &Findings) {
    println!("{found}");
    for failure in &found.failures {
        println!("  {failure}");
    }
    assert!(found.failures.is_empty(), "{found}");
    assert!(found.acknowledged > 0, "{found}");
}

#[test]
fn nothing_that_was_acknowledged_is_lost_with_the_power() {
    if !can_mount() {
        return;
    }
    let images = setting("TOWER_WEBHOOK_IMAGES").map_or(200, |images| images as usize);
    let (asked_for, of_itself) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let fill = |bench: &Bench| {
        let run = |load, checkpoints: &AtomicUsize, stages: [(usize, usize); 3]| {
            let stages = stages.map(|(images, gap)| Stage { images, gap });
            checkpoints.fetch_add(load::run(bench, load, stages), Ordering::SeqCst);
        };
        let small = Load {
            seed: bench.seed,
            payload: 4 << 10,
            checkpoint_every: 10,
        };
        run(small, &asked_for, [(4, 20), (8, 1_000), (3, 20)]);
        // The log becomes so long that the outbox itself writes it back.
        let large = Load {
            seed: !bench.seed,
            payload: 128 << 10,
            checkpoint_every: usize::MAX,
        };
        run(large, &of_itself, [(1, 20), (3, 8_000), (1, 20)]);
    };
    let found = lab(images).run(fill, image::check).unwrap();
    all_is_there(&found);
    let (asked_for, of_itself) = (asked_for.into_inner(), of_itself.into_inner());
    println!(
        "{asked_for} checkpoints of short logs, {of_itself} of long ones, while outboxes were in use"
    );
    assert!(asked_for > 0 && of_itself > 0);
}

/// It may have been killed when the files were there, and before it had synced the folders.
#[test]
fn what_a_killed_process_has_created_survives_a_loss_of_power() {
    if !can_mount() {
        return;
    }
    let fill = |bench: &Bench| {
        let [file, key] = [DATABASE, KEY].map(|path| bench.mount.path().join(path));
        for path in [&file, &key] {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        File::create(file).unwrap();
        let mut key = File::create(key).unwrap();
        key.write_all(&[b'7'; 64]).unwrap();
        key.sync_all().unwrap();
        drop(key);
        let load = Load {
            seed: bench.seed,
            payload: 1 << 10,
            checkpoint_every: 10,
        };
        let stages = [(0, 1), (10, 150), (0, 1)].map(|(images, gap)| Stage { images, gap });
        load::run(bench, load, stages);
    };
    all_is_there(&lab(20).run(fill, image::check).unwrap());
}
