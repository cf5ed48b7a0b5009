//! Whose name is looked up next. Pure and synchronous: no task and no clock of its own.
//!
//! Domains take turns, as everybody who has a domain can have any number of names in it, all of which
//! stall. The domain that has the fewest look-ups under way comes first, and of those that have as
//! many whichever has waited the longest. Domains whose last look-up was slow come after the others.
//!
//! Beyond the turns that anybody can have there is a reserve for domains that have nothing under way
//! and are not slow. A look-up has a turn of it for [`SLOW`] only. Half of the reserve is for domains
//! that are known to be fast; the rest is given out one turn at a time, all of it within [`SLOW`], to
//! the domain that came last. So however many names stall, and however many domains, another domain's
//! name is soon looked up.

use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::remembered::Remembered;

/// A look-up that took as long was slow, whatever came of it. It has lost a turn of the reserve then.
pub(super) const SLOW: Duration = Duration::from_secs(1);
/// So many domains are remembered at least.
const REMEMBERED: usize = 4_096;

/// Labels below which a country's registry gives out names, if it does not do so at the top.
const REGISTRIES: [&str; 11] = [
    "ac", "co", "com", "edu", "go", "gob", "gov", "ne", "net", "or", "org",
];

/// See the [module](self).
pub(super) struct Turns {
    /// For anybody; and beyond them.
    open: usize,
    reserve: usize,
    /// Those that have something under way, or that wait.
    domains: HashMap<Arc<str>, Domain>,
    running: usize,
    is_slow: Remembered<Arc<str>, bool>,
    next_reserve: Option<Instant>,
    last_number: u64,
}

/// A turn that has begun.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Started {
    /// Whose it is.
    pub(super) number: u64,
    pub(super) is_of_reserve: bool,
}

/// Somebody who waits for a turn, or has one.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    pub(super) number: u64,
    domain: Arc<str>,
}

#[derive(Default)]
struct Domain {
    running: usize,
    waiting: VecDeque<u64>,
    /// When it lined up.
    place: u64,
}

impl Turns {
    /// So many look-ups at once.
    pub(super) fn new(turns: usize) -> Self {
        let turns = turns.max(1);
        let reserve = (turns / 5).max(2).min(turns - 1);
        Self {
            open: turns - reserve,
            reserve,
            domains: HashMap::new(),
            running: 0,
            is_slow: Remembered::new(REMEMBERED),
            next_reserve: None,
            last_number: 0,
        }
    }

    /// How many look-ups are under way.
    #[cfg(feature = "metrics")]
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// This name waits for a turn.
    pub(super) fn join(&mut self, name: &str) -> Ticket {
        let name = domain(name);
        let key = self.domains.get_key_value(name);
        let key = key.map_or_else(|| Arc::from(name), |(key, _)| Arc::clone(key));
        let number = self.next_number();
        let domain = self.domains.entry(Arc::clone(&key)).or_default();
        if domain.waiting.is_empty() {
            domain.place = number;
        }
        domain.waiting.push_back(number);
        Ticket {
            number,
            domain: key,
        }
    }

    /// Whose turn it is now; `None` when nobody may have one. To be asked until then, after
    /// [`join`](Self::join) and [`end`](Self::end), and at [`next_reserve`](Self::next_reserve).
    pub(super) fn start(&mut self, now: Instant) -> Option<Started> {
        let is_of_reserve = self.running >= self.open;
        let waiting = self.domains.iter();
        let waiting = waiting.filter(|(_, domain)| !domain.waiting.is_empty());
        let next = if !is_of_reserve {
            waiting.min_by_key(|(key, domain)| {
                let is_slow = self.is_slow.get(*key) == Some(&true);
                (is_slow, domain.running, domain.place)
            })
        } else if self.running < self.open + self.reserve {
            let idle = waiting.filter(|(_, domain)| domain.running == 0);
            let is_for_all = self.running < self.open + self.reserve.div_ceil(2)
                && self.next_reserve.is_none_or(|at| at <= now);
            let next = idle.filter_map(|(key, domain)| {
                let place = domain.place;
                match self.is_slow.get(key) {
                    Some(false) => Some(((0, Reverse(0), place), key, domain)),
                    None if is_for_all => Some(((1, Reverse(place), 0), key, domain)),
                    Some(true) | None => None,
                }
            });
            let next = next.min_by_key(|(order, ..)| *order);
            if let Some(((1, ..), ..)) = next {
                self.next_reserve = Some(now + self.between_reserve());
            }
            next.map(|(_, key, domain)| (key, domain))
        } else {
            None
        };
        let key = Arc::clone(next?.0);
        let place = self.next_number();
        let domain = self.domains.get_mut(&key)?;
        let number = domain.waiting.pop_front()?;
        domain.place = place;
        domain.running += 1;
        self.running += 1;
        Some(Started {
            number,
            is_of_reserve,
        })
    }

    /// When [`start`](Self::start) may give somebody a turn by the passing of time alone.
    pub(super) fn next_reserve(&self, now: Instant) -> Option<Instant> {
        self.next_reserve.filter(|&at| at > now)
    }

    /// A turn is over, after this time, or whoever waited for one is gone.
    pub(super) fn end(&mut self, ticket: &Ticket, took: Option<Duration>) {
        let Ticket {
            number,
            domain: key,
        } = ticket;
        let Some(domain) = self.domains.get_mut(key) else {
            return;
        };
        match domain.waiting.iter().position(|waiting| waiting == number) {
            Some(at) => drop(domain.waiting.remove(at)),
            None => {
                domain.running -= 1;
                self.running -= 1;
            }
        }
        if domain.running == 0 && domain.waiting.is_empty() {
            self.domains.remove(key);
        }
        if let Some(took) = took {
            self.is_slow.put(Arc::clone(key), took >= SLOW);
        }
    }

    fn between_reserve(&self) -> Duration {
        let turns = self.reserve.div_ceil(2).max(1);
        SLOW / u32::try_from(turns).unwrap_or(u32::MAX)
    }

    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}

/// The part of a name that somebody has registered, nearly: what is below it is the same person's.
///
/// A list of all public suffixes would know more, of which nothing matters here: what is below the
/// other ones is on the name servers of whoever gives it out, or takes turns with few others.
fn domain(name: &str) -> &str {
    let mut dots = name.rmatch_indices('.').map(|(at, _)| at);
    let (Some(top), Some(second)) = (dots.next(), dots.next()) else {
        return name;
    };
    let is_country = name.len() - top == ".uk".len();
    match is_country && REGISTRIES.contains(&&name[second + 1..top]) {
        true => dots.next().map_or(name, |third| &name[third + 1..]),
        false => &name[second + 1..],
    }
}

#[cfg(test)]
mod tests;
