use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::remembered::Remembered;
use crate::sync::lock;

/// For so long after an answer an address counts as one that answers.
const ANSWERS: Duration = Duration::from_secs(60);
/// So many addresses are remembered that have answered.
const REMEMBERED: usize = 4_096;

/// Limits the attempts that wait for a first answer from one address, however many names lead there.
///
/// Many names may share an address honestly, as those behind a content delivery network do: so the
/// limit is wide where it has answered lately, whoever was asked. A connection over which an answer
/// has come takes no place any more.
pub(super) struct Places {
    limits: [Limits; 2],
    state: Mutex<State>,
}

#[derive(Clone, Copy)]
struct Limits {
    answering: usize,
    others: usize,
}

struct State {
    taken: HashMap<Address, usize>,
    answered: Remembered<Address, Instant>,
}

/// An IPv4 address, or the /64 of an IPv6 address, as that is what one host is given; and a port of
/// it, or 0 for all of them together.
type Address = (IpAddr, u16);

/// The right to wait for an answer from one address. Given back when dropped, or answered.
pub(super) struct Place {
    places: Arc<Places>,
    addresses: [Address; 2],
    is_over: AtomicBool,
}

impl Places {
    /// For so many attempts in all, and to one host. One address may have three quarters of all where
    /// it answers: hosts that are not known to answer have half of all, so others find a place beside
    /// them. Where it is not known to answer, one port may have as many as one host, and all its ports
    /// a quarter of all if that is more.
    pub(super) fn new(attempts: usize, per_host: usize) -> Self {
        let per_host = per_host.max(FEW);
        let limits = |others: usize| Limits {
            answering: per_host.max(attempts - attempts / 4),
            others,
        };
        Self {
            limits: [limits(per_host), limits(per_host.max(attempts / 4))],
            state: Mutex::new(State {
                taken: HashMap::new(),
                answered: Remembered::new(REMEMBERED),
            }),
        }
    }

    /// `None` when too many are taken.
    pub(super) fn take(self: &Arc<Self>, address: SocketAddr) -> Option<Place> {
        let network = network(address.ip());
        let addresses = [(network, address.port()), (network, 0)];
        let now = Instant::now();
        let mut state = lock(&self.state);
        for (address, limits) in addresses.iter().zip(&self.limits) {
            let answered = state.answered.get(address);
            let limit = match answered.is_some_and(|&at| now < at + ANSWERS) {
                true => limits.answering,
                false => limits.others,
            };
            if state
                .taken
                .get(address)
                .is_some_and(|&taken| taken >= limit)
            {
                return None;
            }
        }
        for address in addresses {
            *state.taken.entry(address).or_default() += 1;
        }
        drop(state);
        Some(Place {
            places: Arc::clone(self),
            addresses,
            is_over: AtomicBool::new(false),
        })
    }
}

/// As many as one host that is not known to answer.
const FEW: usize = 4;

fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

impl Place {
    /// The address has answered: it answers, and there is nothing to wait for.
    pub(super) fn answered(&self) {
        self.give_back(true);
    }

    fn give_back(&self, has_answered: bool) {
        if self.is_over.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut state = lock(&self.places.state);
        for address in self.addresses {
            if has_answered {
                state.answered.put(address, Instant::now());
            }
            if let Some(taken) = state.taken.get_mut(&address) {
                *taken -= 1;
                if *taken == 0 {
                    state.taken.remove(&address);
                }
            }
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.give_back(false);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const ATTEMPTS: usize = 512;
    const PER_HOST: usize = 64;

    fn places() -> Arc<Places> {
        Arc::new(Places::new(ATTEMPTS, PER_HOST))
    }

    fn take_all(places: &Arc<Places>, address: &str) -> Vec<Place> {
        let address = address.parse().unwrap();
        std::iter::from_fn(|| places.take(address)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_is_not_known_to_answer_has_few() {
        let places = places();
        let taken = take_all(&places, "192.0.2.1:443");
        assert_eq!(taken.len(), PER_HOST);
        assert!(places.take("192.0.2.2:443".parse().unwrap()).is_some());
        drop(taken);
        assert_eq!(take_all(&places, "192.0.2.1:443").len(), PER_HOST);
        assert!(lock(&places.state).taken.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn its_ports_share_a_limit() {
        let places = places();
        let ports = (1..=32).map(|port| take_all(&places, &format!("192.0.2.1:{port}")));
        let taken: Vec<_> = ports.flatten().collect();
        assert_eq!(taken.len(), ATTEMPTS / 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_of_ipv6_is_one_address() {
        let places = places();
        let hosts = (0..64).map(|host| take_all(&places, &format!("[2001:db8::{host:x}]:443")));
        let taken: Vec<_> = hosts.flatten().collect();
        assert_eq!(taken.len(), PER_HOST);
        assert!(
            places
                .take("[2001:db8:0:1::]:443".parse().unwrap())
                .is_some()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_has_answered_lately_has_many_but_not_all() {
        let places = places();
        let mut taken = take_all(&places, "192.0.2.1:443");
        taken[0].answered();
        assert_eq!(lock(&places.state).taken.len(), 2);
        taken.remove(0);
        taken.extend(take_all(&places, "192.0.2.1:443"));
        assert_eq!(taken.len(), ATTEMPTS / 4 * 3);
        // Those it has it keeps; it is given no more.
        advance(ANSWERS).await;
        taken.truncate(PER_HOST);
        assert!(places.take("192.0.2.1:443".parse().unwrap()).is_none());
    }
}
