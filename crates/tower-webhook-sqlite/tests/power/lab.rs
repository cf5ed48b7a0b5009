//! Takes images of disks while these are in use, and looks at each of them.

use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;

use crate::{
    camera::{Acknowledged, Camera, Ledger, Shot},
    crash::Damage,
    mount::Mount,
};

pub(crate) struct Lab {
    pub(crate) seed: u64,
    /// At least so many.
    pub(crate) images: usize,
}

/// A new disk, and what it is used with.
pub(crate) struct Bench {
    pub(crate) mount: Mount,
    pub(crate) ledger: Ledger,
    pub(crate) seed: u64,
}

/// What was found in the images.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) images: usize,
    /// The images that do not open, or have lost something.
    pub(crate) failures: Vec<String>,
    pub(crate) acknowledged: usize,
    damage: Damage,
    took: Duration,
    seed: u64,
}

const LOOKERS: usize = 2;
/// The disk stands still while so many images wait to be looked at.
const WAITING: usize = 2;

impl Lab {
    /// Fills disks until there are enough images.
    pub(crate) fn run(
        &self,
        fill: impl Fn(&Bench),
        check: impl Fn(&Path, &Acknowledged) -> Result<(), String> + Sync,
    ) -> io::Result<Findings> {
        let began = Instant::now();
        let (shots, taken) = mpsc::sync_channel(WAITING);
        let (taken, found) = (Mutex::new(taken), Mutex::new(Findings::default()));
        let look = |shot: &Shot| {
            let folder = tempfile::tempdir().unwrap();
            shot.image.write_into(folder.path());
            check(folder.path(), &shot.acknowledged)
        };
        let look_at_all = || {
            while let Some(shot) = next(&taken) {
                // Somebody has to look at the next ones, or the disk would stand still for ever.
                let looked = catch_unwind(AssertUnwindSafe(|| look(&shot)));
                let checked = looked.unwrap_or_else(|_| Err("it panics".to_owned()));
                found.lock().unwrap().add(&shot, checked);
            }
        };
        thread::scope(|scope| {
            for _ in 0..LOOKERS {
                scope.spawn(look_at_all);
            }
            // Where this panics the lookers end, too: nobody sends them anything.
            let shots = shots;
            let mut rng = Rng::with_seed(self.seed);
            while found.lock().unwrap().images < self.images {
                let (seed, ledger) = (rng.u64(..), Ledger::default());
                let camera = Camera::new(seed, ledger.clone(), shots.clone());
                let bench = Bench {
                    mount: Mount::new(Some(camera))?,
                    ledger,
                    seed,
                };
                fill(&bench);
            }
            io::Result::Ok(())
        })?;
        let mut found = found.into_inner().unwrap();
        (found.took, found.seed) = (began.elapsed(), self.seed);
        Ok(found)
    }
}

fn next(taken: &Mutex<mpsc::Receiver<Shot>>) -> Option<Shot> {
    taken.lock().unwrap().recv().ok()
}

impl Findings {
    fn add(&mut self, shot: &Shot, checked: Result<(), String>) {
        let Damage {
            kept,
            dropped,
            torn,
        } = shot.image.damage;
        self.images += 1;
        self.acknowledged += shot.acknowledged.len();
        self.damage.kept += kept;
        self.damage.dropped += dropped;
        self.damage.torn += torn;
        if let Err(failure) = checked {
            let files = shot.image.files.iter();
            let files: Vec<_> = files.map(|(path, bytes)| (path, bytes.len())).collect();
            self.failures
                .push(format!("{failure}; in the image: {files:?}"));
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage {
            kept,
            dropped,
            torn,
        } = self.damage;
        write!(
            f,
            "{} images with {} acknowledged in all, {} failed, {:.0?}; of the changes that were not \
             synced {kept} were kept, {dropped} dropped and {torn} torn; TOWER_WEBHOOK_SEED={}",
            self.images,
            self.acknowledged,
            self.failures.len(),
            self.took,
            self.seed,
        )
    }
}
