//! Who delivers: this crate, a bare client, and what is written by hand.

mod bare;
mod handwritten;
mod layered;

use std::time::{Duration, Instant};

use futures::future::LocalBoxFuture;

pub(crate) use self::{
    bare::{http, https, unguarded},
    handwritten::Handwritten,
    layered::{Layered, axum, forward, plain},
};
use crate::support::{cpu, rounds::Rounds};

/// Attempts under way to one receiver, and connections kept open to it: this crate's default.
pub(crate) const AT_ONCE: usize = 64;

/// Who delivers.
pub(crate) trait Peer {
    fn name(&self) -> &'static str;

    /// Delivers as many as that, and says how long it took. What can be prepared is prepared
    /// before the clock starts.
    fn run(&mut self, load: Load) -> LocalBoxFuture<'_, Duration>;
}

/// What there is to deliver in one turn.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) number: usize,
    pub(crate) outstanding: usize,
}

/// What a comparison came to, by peer.
pub(crate) struct Compared {
    /// Deliveries a second.
    pub(crate) rates: Rounds,
    /// Microseconds of this process on a processor for each delivery.
    pub(crate) costs: Rounds,
}

/// Lets the peers take turns.
pub(crate) async fn compare(rounds: usize, load: Load, peers: &mut [&mut dyn Peer]) -> Compared {
    let mut compared = Compared {
        rates: Rounds::new(peers.len()),
        costs: Rounds::new(peers.len()),
    };
    for peer in peers.iter_mut() {
        peer.run(load).await;
    }
    for _ in 0..rounds {
        for at in compared.rates.order() {
            let before = cpu::time_of(std::process::id());
            let took = peers[at].run(load).await;
            let cost = cpu::time_of(std::process::id()) - before;
            let number = load.number as f64;
            compared.rates.add(at, number / took.as_secs_f64());
            compared.costs.add(at, cost.as_secs_f64() * 1e6 / number);
        }
    }
    compared
}

/// Runs on the runtime's own threads, as a server's tasks do.
async fn timed(work: impl Future<Output = ()> + Send + 'static) -> Duration {
    let started = Instant::now();
    tokio::spawn(work).await.expect("no peer panics");
    started.elapsed()
}
