//! Whose turn it is: what may start, and when that may change by itself.

use tokio::time::Instant;

use super::{Due, Scheduler, limits::Shares, standing::Standing};

/// Who is next.
pub(super) struct NextTurn {
    pub(super) turn: u64,
    pub(super) standing: Standing,
    pub(super) is_of_reserve: bool,
}

/// Whether hosts of one standing may have one more attempt under way.
pub(super) enum Share {
    Nothing,
    Some,
    /// One, and the next one after a while.
    Reserve,
}

impl<J: Due> Scheduler<J> {
    /// Whether [`start`](Self::start) would give something.
    pub(in crate::dispatch) fn can_start(&self, now: Instant) -> bool {
        self.next_turn(now).is_some()
    }

    /// When [`start`](Self::start) may have something by the passing of time alone. What it has now
    /// already, and what waits for a permit, needs no time.
    pub(in crate::dispatch) fn next_wake(&self, now: Instant) -> Option<Instant> {
        let pause = self.line.first_pause();
        let waits_for_reserve = self.line.ends(Standing::Untried).is_some()
            && self.running < self.limits.attempts
            && self.unanswered() < self.limits.shares().half;
        let reserve = self.next_reserve.filter(|_| waits_for_reserve);
        let times = [pause, reserve].into_iter().flatten();
        times.filter(|&at| at > now).min()
    }

    /// Of those that may have a permit, the one whose turn is the lowest.
    pub(super) fn next_turn(&self, now: Instant) -> Option<NextTurn> {
        if self.running >= self.limits.attempts {
            return None;
        }
        let turn_of = |standing: Standing| {
            let is_of_reserve = match self.share_of(standing, now) {
                Share::Nothing => return None,
                Share::Some => false,
                Share::Reserve => true,
            };
            let (longest, latest) = self.line.ends(standing)?;
            let next = NextTurn {
                turn: if is_of_reserve { latest } else { longest },
                standing,
                is_of_reserve,
            };
            Some((longest, next))
        };
        let turns = Standing::ALL.into_iter().filter_map(turn_of);
        let first = turns.min_by_key(|(longest, _)| *longest);
        first.map(|(_, next)| next)
    }

    /// Whether all hosts of that standing together may have one more attempt under way.
    pub(super) fn share_of(&self, standing: Standing, now: Instant) -> Share {
        let doubtful = self.running_by[Standing::Doubtful.index()];
        let unanswered = self.unanswered();
        let Shares {
            half,
            open,
            doubtful: most_doubtful,
        } = self.limits.shares();
        match standing {
            Standing::Answering => Share::Some,
            Standing::Doubtful if doubtful >= most_doubtful => Share::Nothing,
            _ if unanswered < open => Share::Some,
            Standing::Untried
                if unanswered < half && self.next_reserve.is_none_or(|at| at <= now) =>
            {
                Share::Reserve
            }
            Standing::Untried | Standing::Fresh | Standing::Doubtful => Share::Nothing,
        }
    }

    /// Attempts under way to hosts that are not known to answer.
    pub(super) fn unanswered(&self) -> usize {
        let [_, untried, fresh, doubtful] = self.running_by;
        untried + fresh + doubtful
    }
}
