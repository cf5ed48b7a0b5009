use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OnceCell, oneshot},
    time::{Instant, sleep_until, timeout},
};

use super::{
    Resolve,
    turns::{SLOW, Started, Ticket, Turns},
};
use crate::sync::lock;

/// The most look-ups that are under way at once, however many sockets there are.
pub(super) const MAX_LOOKUPS: usize = 80;
/// How long one may take once its turn has come. Waiting for that turn counts against the attempt's
/// own deadline only.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// How often whoever waits looks whether the reserve has a turn by now, at least.
const LOOK: Duration = Duration::from_millis(250);

/// Looks names up. Attempts that need the same name share one look-up, so a name that stalls takes
/// one turn, however many attempts ask for it; and names of one domain wait for each other rather
/// than have those of other domains wait.
pub(super) struct Lookups {
    resolver: Arc<dyn Resolve>,
    line: Mutex<Line>,
    under_way: Mutex<HashMap<String, Shared>>,
}

/// Who waits for a turn.
struct Line {
    turns: Turns,
    waiting: HashMap<u64, oneshot::Sender<Started>>,
}

/// A turn, or a place in the line.
struct Turn<'a> {
    lookups: &'a Lookups,
    ticket: Ticket,
    began: Option<Instant>,
    is_of_reserve: bool,
    has_ended: bool,
}

/// `None`: the name has no address, or the look-up failed or took too long.
type Addresses = Option<Arc<[IpAddr]>>;

/// A look-up, and how many attempts wait for it: `asking` is the number of [`LookupGuard`] guards.
#[derive(Default)]
struct Shared {
    lookup: Arc<OnceCell<Addresses>>,
    asking: usize,
}

/// An attempt that waits for a look-up. The last one to be dropped removes the look-up, so that no
/// answer outlives those who asked, and a cancelled attempt leaves nothing behind.
struct LookupGuard<'a> {
    lookups: &'a Lookups,
    name: &'a str,
}

impl Lookups {
    /// Has so many look-ups under way at once, at most.
    pub(super) fn new(resolver: Arc<dyn Resolve>, most: usize) -> Self {
        let line = Line {
            turns: Turns::new(most),
            waiting: HashMap::new(),
        };
        Self {
            resolver,
            line: Mutex::new(line),
            under_way: Mutex::default(),
        }
    }

    /// How many are under way.
    #[cfg(feature = "metrics")]
    pub(super) fn running(&self) -> usize {
        lock(&self.line).turns.running()
    }

    /// Looks this name up, or waits for the attempt that does. If that one is cancelled, another
    /// attempt that waits starts over.
    pub(super) async fn addresses(&self, name: &str) -> Addresses {
        let (_asking, lookup) = self.ask(name);
        lookup.get_or_init(|| self.look_up(name)).await.clone()
    }

    async fn look_up(&self, name: &str) -> Addresses {
        loop {
            let mut turn = self.turn(name).await;
            let time = match turn.is_of_reserve {
                true => SLOW,
                false => LOOKUP_TIMEOUT,
            };
            let found = timeout(time, self.resolver.resolve(name)).await;
            turn.has_ended = true;
            match found {
                Ok(Ok(addresses)) if !addresses.is_empty() => return Some(addresses.into()),
                // It is known to be slow now, and waits for a turn of the others.
                Err(_elapsed) if turn.is_of_reserve => {}
                Ok(_) | Err(_) => return None,
            }
        }
    }

    async fn turn(&self, name: &str) -> Turn<'_> {
        let (tell, mut told) = oneshot::channel();
        let ticket = {
            let mut line = lock(&self.line);
            let ticket = line.turns.join(name);
            line.waiting.insert(ticket.number, tell);
            ticket
        };
        let mut turn = Turn {
            lookups: self,
            ticket,
            began: None,
            is_of_reserve: false,
            has_ended: false,
        };
        loop {
            // Somebody else's turn may set a time before which this would not look again.
            let next_look = self.start_next().unwrap_or_else(|| Instant::now() + LOOK);
            tokio::select! {
                biased;
                started = &mut told => {
                    turn.began = Some(Instant::now());
                    turn.is_of_reserve = started.is_ok_and(|started| started.is_of_reserve);
                    return turn;
                }
                () = sleep_until(next_look) => {}
            }
        }
    }

    /// Tells everybody whose turn it is, and says when to look again.
    fn start_next(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut line = lock(&self.line);
        let Line { turns, waiting } = &mut *line;
        let mut started = Vec::new();
        while let Some(next) = turns.start(now) {
            started.extend(waiting.remove(&next.number).map(|tell| (tell, next)));
        }
        let next_reserve = turns.next_reserve(now);
        drop(line);
        for (tell, next) in started {
            // Whoever is gone gives the turn back.
            let _ = tell.send(next);
        }
        next_reserve
    }

    fn ask<'a>(&'a self, name: &'a str) -> (LookupGuard<'a>, Arc<OnceCell<Addresses>>) {
        let mut under_way = self.under_way();
        let shared = under_way.entry(name.to_owned()).or_default();
        shared.asking += 1;
        let asking = LookupGuard {
            lookups: self,
            name,
        };
        (asking, Arc::clone(&shared.lookup))
    }

    /// A poisoned lock is fine to use: no panic can leave an update half done.
    fn under_way(&self) -> MutexGuard<'_, HashMap<String, Shared>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LookupGuard<'_> {
    fn drop(&mut self) {
        let mut under_way = self.lookups.under_way();
        if let Some(shared) = under_way.get_mut(self.name) {
            shared.asking -= 1;
            if shared.asking == 0 {
                under_way.remove(self.name);
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let took = self.began.map(|began| began.elapsed());
        // A look-up that was cut off says nothing if it might have been fast.
        let took = took.filter(|&took| self.has_ended || took >= SLOW);
        let mut line = lock(&self.lookups.line);
        line.waiting.remove(&self.ticket.number);
        line.turns.end(&self.ticket, took);
        drop(line);
        self.lookups.start_next();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::{task::yield_now, time::sleep};

    use super::*;
    use crate::attempt::ResolveFuture;

    /// Answers after a second, with an address whose last byte is the number of earlier look-ups.
    #[derive(Clone, Default)]
    struct Slow {
        asked: Arc<AtomicUsize>,
    }

    impl Resolve for Slow {
        fn resolve(&self, _: &str) -> ResolveFuture {
            let before = self.asked.fetch_add(1, Ordering::SeqCst) as u8;
            Box::pin(async move {
                sleep(Duration::from_secs(1)).await;
                Ok(vec![[93, 184, 216, before].into()])
            })
        }
    }

    fn answer(number: u8) -> Addresses {
        Some([[93, 184, 216, number].into()].into())
    }

    fn slow() -> (Arc<Lookups>, Arc<AtomicUsize>) {
        let resolver = Slow::default();
        let asked = Arc::clone(&resolver.asked);
        (
            Arc::new(Lookups::new(Arc::new(resolver), MAX_LOOKUPS)),
            asked,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_ask_at_the_same_time_share_a_look_up() {
        let (lookups, asked) = slow();
        let ask = || lookups.addresses("receiver.example.com");
        let other = lookups.addresses("other.example.com");
        let found = tokio::join!(ask(), ask(), ask(), other);
        assert_eq!(found, (answer(0), answer(0), answer(0), answer(1)));
        assert!(lookups.under_way().is_empty());
        assert_eq!(ask().await, answer(2), "an answer is not kept");
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn when_the_first_one_gives_up_the_next_one_begins() {
        let (lookups, asked) = slow();
        let ask = || {
            let lookups = Arc::clone(&lookups);
            tokio::spawn(async move { lookups.addresses("receiver.example.com").await })
        };
        let (first, second) = (ask(), ask());
        yield_now().await;
        first.abort();
        assert_eq!(second.await.unwrap(), answer(1));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        assert!(lookups.under_way().is_empty());
    }
}
