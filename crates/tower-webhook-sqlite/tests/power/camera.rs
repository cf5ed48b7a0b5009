//! When images are taken, and what had been acknowledged by then.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, mpsc},
};

use fastrand::Rng;

use crate::{crash::Image, disk::Disk};

/// Digests of payloads, by the ids of what was acknowledged and has not ended.
pub(crate) type Acknowledged = HashMap<String, String>;

/// What was acknowledged. `None` stands for what may have ended.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<HashMap<String, Option<String>>>>);

/// An image, and what has to be in it.
pub(crate) struct Shot {
    pub(crate) image: Image,
    pub(crate) acknowledged: Acknowledged,
}

/// Takes images at changes of a disk that it chooses by chance. Time has no part in it.
pub(crate) struct Camera {
    rng: Rng,
    ledger: Ledger,
    shots: mpsc::SyncSender<Shot>,
    left: usize,
    widest_gap: usize,
    /// The changes before the next image.
    gap: usize,
}

impl Ledger {
    /// It may have ended before its insert was heard of.
    pub(crate) fn acknowledged(&self, id: &str, digest: &str) {
        let mut entries = self.0.lock().unwrap();
        let entry = entries.entry(id.to_owned());
        entry.or_insert(Some(digest.to_owned()));
    }

    /// It may be gone from now on.
    pub(crate) fn ends(&self, id: &str) {
        self.0.lock().unwrap().insert(id.to_owned(), None);
    }

    fn now(&self) -> Acknowledged {
        let entries = self.0.lock().unwrap();
        let kept = |(id, digest): (&String, &Option<String>)| Some((id.clone(), digest.clone()?));
        entries.iter().filter_map(kept).collect()
    }
}

impl Camera {
    pub(crate) fn new(seed: u64, ledger: Ledger, shots: mpsc::SyncSender<Shot>) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            ledger,
            shots,
            left: 0,
            widest_gap: 0,
            gap: 0,
        }
    }

    /// So many images from now on, each after so many changes at most.
    pub(crate) fn aim(&mut self, images: usize, widest_gap: usize) {
        (self.left, self.widest_gap) = (images, widest_gap);
        self.gap = self.rng.usize(..widest_gap);
    }

    pub(crate) fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Called before each change. Waits where nobody has looked at earlier images yet.
    pub(crate) fn see(&mut self, disk: &Disk) {
        if self.left == 0 {
            return;
        }
        if self.gap == 0 {
            // What was acknowledged comes first, and the disk does not change meanwhile.
            let acknowledged = self.ledger.now();
            let image = Image::of(disk, &mut self.rng);
            let shot = Shot {
                image,
                acknowledged,
            };
            // Nobody looks any more where the test has failed.
            let _ = self.shots.send(shot);
            self.left -= 1;
            self.gap = self.rng.usize(1..=self.widest_gap);
        }
        self.gap -= 1;
    }
}
