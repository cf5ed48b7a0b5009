//! How many attempts may be under way: in all, to one host, and to all hosts of one standing.

use std::time::Duration;

use super::standing::Standing;

#[derive(Clone, Copy, Debug)]
pub(in crate::dispatch) struct SchedulerLimits {
    /// Attempts under way, in all and to one host.
    pub(in crate::dispatch) attempts: usize,
    pub(in crate::dispatch) per_host: usize,
    /// The longest that one takes.
    pub(in crate::dispatch) time: Duration,
}

/// How many permits hosts may have together that are not known to answer,
pub(super) struct Shares {
    pub(super) half: usize,
    /// at any time,
    pub(super) open: usize,
    /// and those that do not answer.
    pub(super) doubtful: usize,
}

/// The attempts that a host may have under way that is not known to answer.
pub(super) const FEW: usize = 4;

impl SchedulerLimits {
    /// The attempts that one host of that standing may have under way.
    pub(super) fn attempts_of(&self, standing: Standing) -> usize {
        match standing {
            Standing::Answering => self.per_host,
            Standing::Untried | Standing::Fresh | Standing::Doubtful => self.per_host.min(FEW),
        }
    }

    /// Of all permits, what hosts may have that are not known to answer.
    pub(super) fn shares(&self) -> Shares {
        let half = (self.attempts / 2).max(1);
        Shares {
            half,
            open: (half - half / 4).max(1),
            doubtful: (half / 2).max(1),
        }
    }

    /// The time between two permits of the reserve: by when all of it is given out, the first comes
    /// back.
    pub(super) fn reserve_time(&self) -> Duration {
        let Shares { half, open, .. } = self.shares();
        self.time / u32::try_from(half - open).unwrap_or(u32::MAX).max(1)
    }

    /// So many deliveries of one host are to wait here at most, so that its permits are never free
    /// for want of some, and others have room as well.
    pub(super) fn target(&self, standing: Standing) -> usize {
        2 * self.attempts_of(standing)
    }
}
