use std::{
    hash::BuildHasher,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use foldhash::quality::RandomState;

/// Recently read endpoints by their text: callers name the same few over and over, and reading one
/// costs more than everything else that a request with a webhook needs.
///
/// The result for a text never changes under one policy, so an entry is never stale.
///
/// Threads look in different sets: those whose calls name the same endpoint seldom contend for a
/// lock, or for the endpoint's reference count.
pub(crate) struct RecentEndpoints<T> {
    hasher: RandomState,
    sets: Box<[Mutex<Set<T>>]>,
}

/// Texts whose hashes select the same set: a new one replaces the oldest.
struct Set<T> {
    known: [Option<KnownEndpoint<T>>; WAYS],
    oldest: usize,
}

struct KnownEndpoint<T> {
    hash: u64,
    written: EndpointText<Box<[u8]>>,
    endpoint: T,
}

const SETS: usize = 256;
/// How many sets a text can be in, one for each group of threads: more would leave fewer for other
/// texts.
const PLACES: usize = 4;
const WAYS: usize = 4;
/// The longest text that is kept, in bytes: a longer one is read each time. With the number of sets
/// this bounds the memory.
const MAX_LEN: usize = 512;

/// How many threads have looked for a text. Each thread gets the next number.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}

/// The text of an endpoint as a request carries it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum EndpointText<T> {
    /// In the query, encoded.
    Query(T),
    /// In the header.
    Header(T),
}

impl<T: Clone> RecentEndpoints<T> {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::default(),
            sets: (0..SETS).map(|_| Mutex::new(Set::new())).collect(),
        }
    }

    /// The endpoint that `read` returned for this text before, or what it returns now. Errors are
    /// not kept.
    pub(crate) fn get_or_read<E>(
        &self,
        written: EndpointText<&[u8]>,
        read: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        if written.len() > MAX_LEN {
            return read();
        }
        let hash = self.hasher.hash_one(written);
        let set = &self.sets[THREAD.with(|&thread| place(hash, thread))];
        // A poisoned lock is fine to use: no panic can leave a set half written. It is not held
        // while the text is read, so two threads may read the same one.
        let lock = || set.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(endpoint) = lock().find(hash, written) {
            return Ok(endpoint.clone());
        }
        let endpoint = read()?;
        lock().put(KnownEndpoint {
            hash,
            written: written.to_owned(),
            endpoint: endpoint.clone(),
        });
        Ok(endpoint)
    }
}

/// The set in which a thread looks for a text.
fn place(hash: u64, thread: usize) -> usize {
    let apart = thread % PLACES * (SETS / PLACES);
    (hash as usize % SETS + apart) % SETS
}

impl<T> Set<T> {
    fn new() -> Self {
        Self {
            known: [const { None }; WAYS],
            oldest: 0,
        }
    }

    fn find(&self, hash: u64, written: EndpointText<&[u8]>) -> Option<&T> {
        let same =
            |known: &&KnownEndpoint<T>| known.hash == hash && known.written.as_slice() == written;
        let found = self.known.iter().flatten().find(same);
        found.map(|known| &known.endpoint)
    }

    fn put(&mut self, known: KnownEndpoint<T>) {
        self.known[self.oldest] = Some(known);
        self.oldest = (self.oldest + 1) % WAYS;
    }
}

impl<T: AsRef<[u8]>> EndpointText<T> {
    fn as_slice(&self) -> EndpointText<&[u8]> {
        match self {
            Self::Query(text) => EndpointText::Query(text.as_ref()),
            Self::Header(text) => EndpointText::Header(text.as_ref()),
        }
    }
}

impl EndpointText<&[u8]> {
    fn len(self) -> usize {
        match self {
            Self::Query(text) | Self::Header(text) => text.len(),
        }
    }

    fn to_owned(self) -> EndpointText<Box<[u8]>> {
        match self {
            Self::Query(text) => EndpointText::Query(text.into()),
            Self::Header(text) => EndpointText::Header(text.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::Arc, thread};

    use super::*;
    use crate::endpoint::{Endpoint, EndpointError, EndpointPolicy};

    fn check(text: &str) -> Result<Endpoint, EndpointError> {
        EndpointPolicy::public().check(text)
    }

    #[test]
    fn says_what_reading_says_also_the_second_time() {
        let recent = RecentEndpoints::new();
        for at in 0..8 * SETS * WAYS {
            let text = format!("https://example.com/{}", at % (2 * SETS * WAYS));
            let written = EndpointText::Header(text.as_bytes());
            let endpoint = recent.get_or_read(written, || check(&text)).unwrap();
            assert_eq!(endpoint.uri(), text.as_str());
        }
        let refused = EndpointText::Header(&b"https://127.0.0.1/"[..]);
        for _ in 0..2 {
            let read = || check("https://127.0.0.1/");
            assert!(recent.get_or_read(refused, read).is_err());
        }
    }

    #[test]
    fn a_known_text_is_not_read_again() {
        let recent = RecentEndpoints::new();
        let written = EndpointText::Query(&b"https%3A%2F%2Fexample.com%2Fa"[..]);
        let read = || check("https://example.com/a");
        let first = recent.get_or_read(written, read).unwrap();
        let second = recent.get_or_read(written, || Err(())).unwrap();
        assert!(Arc::ptr_eq(
            first.host_key().name(),
            second.host_key().name()
        ));
    }

    #[test]
    fn threads_look_in_different_places() {
        for hash in [0, 1, SETS as u64 - 1, u64::MAX] {
            let places: Vec<_> = (0..PLACES).map(|thread| place(hash, thread)).collect();
            let distinct: HashSet<_> = places.iter().collect();
            assert_eq!(distinct.len(), PLACES);
            assert!(places.iter().all(|&place| place < SETS));
            assert_eq!(place(hash, PLACES), places[0]);
        }
    }

    #[test]
    fn many_threads_read_a_text_few_times() {
        let recent = RecentEndpoints::new();
        let written = EndpointText::Query(&b"https%3A%2F%2Fexample.com%2Fa"[..]);
        let reads = AtomicUsize::new(0);
        for _ in 0..4 * PLACES {
            let look = || {
                recent.get_or_read(written, || {
                    reads.fetch_add(1, Ordering::Relaxed);
                    check("https://example.com/a")
                })
            };
            let found = thread::scope(|scope| scope.spawn(look).join().unwrap());
            assert_eq!(found.unwrap().host(), "example.com");
        }
        assert!(reads.into_inner() <= PLACES);
    }

    #[test]
    fn where_it_is_written_makes_a_difference() {
        let recent = RecentEndpoints::new();
        let text = b"https://example.com/%41";
        let query = || check("https://example.com/A");
        recent
            .get_or_read(EndpointText::Query(&text[..]), query)
            .unwrap();
        let unknown = recent.get_or_read(EndpointText::Header(&text[..]), || Err(()));
        assert!(unknown.is_err());
    }

    #[test]
    fn a_long_text_is_read_each_time() {
        let recent = RecentEndpoints::new();
        let long = [b'a'; MAX_LEN + 1];
        let read = || check("https://example.com/");
        recent
            .get_or_read(EndpointText::Query(&long[..]), read)
            .unwrap();
        assert!(
            recent
                .get_or_read(EndpointText::Query(&long[..]), || Err(()))
                .is_err()
        );
    }
}
