//! How much of each host's deliveries is to wait here.

use std::{cmp::Reverse, collections::HashMap};

use super::{Due, Scheduler, limits::FEW, line::Place, standing::Standing};
use crate::endpoint::Host;

/// What there is use for of one host's deliveries.
pub(in crate::dispatch) struct HostRoom {
    pub(in crate::dispatch) is_answering: bool,
    /// Nothing is known of it, and nothing of it waits here.
    pub(in crate::dispatch) is_new: bool,
    /// So many more.
    pub(in crate::dispatch) deliveries: usize,
}

impl<J: Due> Scheduler<J> {
    /// How many more of each host there is use for, and of any host that is not named.
    pub(in crate::dispatch) fn demand(&self, others: usize) -> (HashMap<Host, usize>, usize) {
        let hosts = self.hosts.iter().map(|(host, queue)| {
            let target = match queue.standing {
                Standing::Answering => self.limits.target(queue.standing),
                standing => self.limits.target(standing).min(others),
            };
            (host.clone(), target.saturating_sub(queue.due.len()))
        });
        (hosts.collect(), FEW.min(others))
    }

    /// How many deliveries wait here that can go back, for hosts that are not known to answer.
    pub(in crate::dispatch) fn waiting_unanswered(&self) -> usize {
        let [_, unanswered @ ..] = self.waiting_by;
        unanswered.iter().sum()
    }

    /// What there is use for here of one host's deliveries.
    pub(in crate::dispatch) fn room_for(&self, host: &Host) -> HostRoom {
        let (standing, waiting) = match self.hosts.get(host) {
            Some(queue) => (queue.standing, queue.due.len()),
            None => (self.standing_of(host), 0),
        };
        HostRoom {
            is_answering: standing == Standing::Answering,
            is_new: standing == Standing::Untried && waiting == 0,
            deliveries: self.limits.target(standing).saturating_sub(waiting),
        }
    }

    /// Takes a delivery out that can go back, and waits for a host which is not known to answer: rather of
    /// one that does not answer, of the one that has the most, of the one that was named the longest ago.
    /// Costs a look at all hosts.
    pub(in crate::dispatch) fn evict(&mut self) -> Option<J> {
        let hosts = self.hosts.iter();
        let unanswered = hosts
            .filter(|(_, queue)| queue.standing != Standing::Answering && queue.returnable > 0);
        let (host, _) = unanswered.max_by_key(|(_, queue)| {
            let turn = match queue.place {
                Place::InTurn(turn) => turn,
                Place::Nowhere | Place::Paused(..) => 0,
            };
            let does_not_answer = queue.standing == Standing::Doubtful;
            (does_not_answer, queue.returnable, Reverse(turn))
        })?;
        let host = host.clone();
        let queue = self.hosts.get_mut(&host)?;
        let last = queue.due.iter().rposition(J::can_go_back)?;
        let job = queue.due.remove(last)?;
        queue.returnable -= 1;
        self.waiting_by[queue.standing.index()] -= 1;
        if queue.due.is_empty() {
            self.leave_line(&host);
            self.forget_if_idle(&host);
        }
        Some(job)
    }

    fn standing_of(&self, host: &Host) -> Standing {
        self.known
            .get(host)
            .map_or(Standing::Untried, |(standing, _)| standing)
    }

    /// Whether a host has run short of what waits here since this was asked.
    pub(in crate::dispatch) fn take_hungry(&mut self) -> bool {
        std::mem::take(&mut self.is_hungry)
    }
}
