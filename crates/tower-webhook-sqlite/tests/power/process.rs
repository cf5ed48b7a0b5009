//! Programs that use the disk are processes of their own, as the disk is in the memory of this one: a process
//! that maps its own file system cannot be killed.
//!
//! A program is this test binary, run again. It asks on its standard output and hears on its standard input.

use std::{
    fmt,
    hash::{DefaultHasher, Hasher},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use crate::{control, lab::Bench, load};

const PROGRAM: &str = "TOWER_WEBHOOK_POWER_PROGRAM";
const ROOT: &str = "TOWER_WEBHOOK_POWER_ROOT";
/// What a line begins with that asks something.
const ASKS: &str = "asks ";

/// So many images, with at most so many changes of the disk before each.
#[derive(Clone, Copy)]
pub(crate) struct Stage {
    pub(crate) images: usize,
    pub(crate) gap: usize,
}

/// How a program speaks with the test. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Test {
    root: PathBuf,
    line: Arc<Mutex<()>>,
}

struct KilledOnDrop(Child);

/// Runs a program from its first stage to its end. Calls with the number of each stage as it begins.
pub(crate) fn run(bench: &Bench, program: &str, stages: &[Stage], mut on_stage: impl FnMut(usize)) {
    let mut stages = stages.iter().enumerate();
    let mut next_stage = || {
        let (n, stage) = stages.next().expect("there are enough stages");
        on_stage(n);
        bench.mount.aim(stage.images, stage.gap);
    };
    next_stage();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process::program", "--nocapture"])
        .env(PROGRAM, program)
        .env(ROOT, bench.mount.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = KilledOnDrop(child.unwrap());
    let mut answers = child.0.stdin.take().unwrap();
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    for line in lines {
        let line = line.unwrap();
        let Some(question) = line.strip_prefix(ASKS) else {
            continue;
        };
        let words: Vec<_> = question.split(' ').collect();
        let mut answer = "";
        match words[..] {
            ["acknowledged", id, digest] => bench.ledger.acknowledged(id, digest),
            ["ends", id] => bench.ledger.ends(id),
            ["stage"] => next_stage(),
            ["is_done"] if bench.mount.has_shot() => answer = "yes",
            ["is_done"] => answer = "no",
            _ => panic!("nobody asks {question}"),
        }
        // One that was killed hears nothing.
        let _ = writeln!(answers, "{answer}");
    }
    assert!(child.0.wait().unwrap().success(), "{program} has failed");
}

impl Test {
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// It has to be in each image from now on. May be heard of after it has [ended](Self::ends).
    pub(crate) fn acknowledged(&self, id: &impl fmt::Display, payload: &[u8]) {
        self.ask(&format!("acknowledged {id} {}", digest(payload)));
    }

    /// It may be gone from now on.
    pub(crate) fn ends(&self, id: &impl fmt::Display) {
        self.ask(&format!("ends {id}"));
    }

    pub(crate) fn next_stage(&self) {
        self.ask("stage");
    }

    /// Whether all images of this stage were taken.
    pub(crate) fn is_done(&self) -> bool {
        self.ask("is_done") == "yes\n"
    }

    /// Once it is answered, whatever it says holds for the images that are taken.
    fn ask(&self, question: &str) -> String {
        let _line = self.line.lock().unwrap();
        // Whatever stands in the line already.
        let mut out = io::stdout().lock();
        out.write_all(format!("\n{ASKS}{question}\n").as_bytes())
            .unwrap();
        out.flush().unwrap();
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).unwrap();
        assert!(!answer.is_empty(), "the test has ended");
        answer
    }
}

/// Not a test by itself: a program of the tests.
#[test]
fn program() {
    let Ok(program) = std::env::var(PROGRAM) else {
        return;
    };
    let root = std::env::var_os(ROOT).expect("it is set with the program");
    let test = Test {
        root: Path::new(&root).to_owned(),
        line: Arc::default(),
    };
    let words: Vec<_> = program.split(' ').collect();
    let number = |word: &str| word.parse().expect("it is a number");
    match words[..] {
        ["outbox", seed, payload, checkpoint_every] => load::program(
            &test,
            load::Load {
                seed: number(seed),
                payload: number(payload) as usize,
                checkpoint_every: number(checkpoint_every) as usize,
            },
        ),
        ["rows", seed, synchronous] => control::program(&test, number(seed), synchronous),
        _ => panic!("there is no {program}"),
    }
}

/// Stands for a payload.
pub(crate) fn digest(payload: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(payload);
    format!("{}:{:016x}", payload.len(), hasher.finish())
}

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
