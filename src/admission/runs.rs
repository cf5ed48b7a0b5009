use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use foldhash::fast::RandomState;
use tokio::sync::oneshot;

use super::{SharedTally, share::Share};

/// The calls that nobody waits for any more, in the order in which their callers left. They hold half
/// of the room at most, in all and of a host: beyond that the one that was left first is cut off. So
/// nobody can take all room by leaving.
pub(super) struct Runs {
    limit: Share,
    host_limit: Share,
    by_number: BTreeMap<RunNumber, Run>,
    share: Share,
    /// By the address of a host's tally, which a run's reservation holds.
    hosts: HashMap<usize, OfHost, RandomState>,
    last: RunNumber,
}

pub(super) type RunNumber = u64;

struct Run {
    share: Share,
    host: usize,
    /// `None` once it was told.
    cut_off: Option<oneshot::Sender<CutOff>>,
}

#[derive(Default)]
struct OfHost {
    share: Share,
    /// Those that were not told to end.
    runs: BTreeSet<RunNumber>,
}

/// Resolves when a run has to make room for others. It has ended by itself where this fails.
pub(crate) type Cut = oneshot::Receiver<CutOff>;

/// That a run has to make room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CutOff;

impl Runs {
    pub(super) fn new(limit: Share, host_limit: Share) -> Self {
        Self {
            limit,
            host_limit,
            by_number: BTreeMap::new(),
            share: Share::default(),
            hosts: HashMap::default(),
            last: 0,
        }
    }

    pub(super) fn begin(&mut self, host: &SharedTally, share: Share) -> (RunNumber, Cut) {
        self.last += 1;
        let number = self.last;
        let host = Arc::as_ptr(&host.0) as usize;
        let (cut_off, cut) = oneshot::channel();
        let run = Run {
            share: Share::default(),
            host,
            cut_off: Some(cut_off),
        };
        self.by_number.insert(number, run);
        let of_host = self.hosts.entry(host).or_default();
        of_host.runs.insert(number);
        self.recount(number, share);
        (number, cut)
    }

    /// A run holds this much now.
    pub(super) fn recount(&mut self, number: RunNumber, share: Share) {
        let Some(run) = self.by_number.get_mut(&number) else {
            return;
        };
        let before = std::mem::replace(&mut run.share, share);
        // One that was told holds its room for a moment still, and counts no more.
        if run.cut_off.is_none() {
            return;
        }
        let host = run.host;
        self.share = self.share.instead_of(before, share);
        if let Some(of_host) = self.hosts.get_mut(&host) {
            of_host.share = of_host.share.instead_of(before, share);
        }
        self.cut_off_first(host);
    }

    pub(super) fn end(&mut self, number: RunNumber) {
        drop(self.stop_counting(number));
        self.by_number.remove(&number);
    }

    fn cut_off_first(&mut self, host: usize) {
        while let Some(of_host) = self.hosts.get(&host)
            && !of_host.share.is_within(self.host_limit)
            && let Some(&first) = of_host.runs.first()
        {
            self.cut_off(first);
        }
        while !self.share.is_within(self.limit) {
            let mut runs = self.by_number.iter();
            let Some((&first, _)) = runs.find(|(_, run)| run.cut_off.is_some()) else {
                break;
            };
            self.cut_off(first);
        }
    }

    fn cut_off(&mut self, number: RunNumber) {
        if let Some(cut_off) = self.stop_counting(number) {
            // It may just have ended by itself.
            let _ = cut_off.send(CutOff);
        }
    }

    /// `None` where it was told already.
    fn stop_counting(&mut self, number: RunNumber) -> Option<oneshot::Sender<CutOff>> {
        let run = self.by_number.get_mut(&number)?;
        let cut_off = run.cut_off.take()?;
        let (share, host) = (run.share, run.host);
        self.share = self.share.instead_of(share, Share::default());
        if let Some(of_host) = self.hosts.get_mut(&host) {
            of_host.share = of_host.share.instead_of(share, Share::default());
            of_host.runs.remove(&number);
            if of_host.runs.is_empty() {
                self.hosts.remove(&host);
            }
        }
        Some(cut_off)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Share = Share { slots: 1, units: 1 };

    fn runs(slots: u32, of_host: u32, units: u32) -> Runs {
        let limit = |slots| Share { slots, units };
        Runs::new(limit(slots), limit(of_host))
    }

    fn is_cut(cut: &mut Cut) -> bool {
        cut.try_recv().is_ok()
    }

    #[test]
    fn the_one_that_was_left_first_makes_room() {
        let mut runs = runs(3, 2, 100);
        let [a, b] = [SharedTally::default(), SharedTally::default()];
        let (_, mut first) = runs.begin(&a, ONE);
        let (second_number, mut second) = runs.begin(&b, ONE);
        let (_, mut third) = runs.begin(&a, ONE);
        assert!(!is_cut(&mut first));
        let (_, mut fourth) = runs.begin(&a, ONE);
        assert!(is_cut(&mut first), "of this host");
        assert!(!is_cut(&mut second) && !is_cut(&mut third) && !is_cut(&mut fourth));
        let (_, mut fifth) = runs.begin(&b, ONE);
        assert!(is_cut(&mut second), "in all");
        runs.end(second_number);
        assert!(!is_cut(&mut third) && !is_cut(&mut fourth) && !is_cut(&mut fifth));
    }

    #[test]
    fn what_grows_counts() {
        let mut runs = runs(9, 9, 10);
        let host = SharedTally::default();
        let (_, mut first) = runs.begin(&host, ONE);
        let (grows, mut second) = runs.begin(&host, ONE);
        runs.recount(grows, Share { slots: 1, units: 9 });
        assert!(!is_cut(&mut first));
        runs.recount(
            grows,
            Share {
                slots: 1,
                units: 10,
            },
        );
        assert!(is_cut(&mut first) && !is_cut(&mut second));
        runs.recount(
            grows,
            Share {
                slots: 1,
                units: 11,
            },
        );
        assert!(is_cut(&mut second), "one alone is too much as well");
    }

    #[test]
    fn what_has_ended_leaves_nothing() {
        let mut runs = runs(99, 2, 100);
        let hosts: Vec<_> = (0..10).map(|_| SharedTally::default()).collect();
        let all = hosts.iter().flat_map(|host| [host; 9]);
        let begun: Vec<_> = all.map(|host| runs.begin(host, ONE)).collect();
        for (number, _) in begun.iter().rev() {
            runs.end(*number);
        }
        assert!(runs.by_number.is_empty() && runs.hosts.is_empty());
        assert_eq!(runs.share, Share::default());
    }
}
