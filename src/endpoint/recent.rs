use std::{
    hash::BuildHasher,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use foldhash::quality::RandomState;

/// Endpoints that were lately read, by how they were written: callers name the same few over and
/// over, and reading one costs more than all else that a request with a webhook needs.
///
/// What a text comes to under one policy never changes, so what is here is never out of date.
///
/// Threads look in different places: those whose calls name the same endpoint seldom share a lock,
/// or the endpoint's count of owners.
pub(crate) struct RecentEndpoints<T> {
    hasher: RandomState,
    sets: Box<[Mutex<Set<T>>]>,
}

/// Texts whose hashes end alike: a new one takes the place of the oldest.
struct Set<T> {
    known: [Option<Known<T>>; WAYS],
    oldest: usize,
}

struct Known<T> {
    hash: u64,
    written: Written<Box<[u8]>>,
    endpoint: T,
}

const SETS: usize = 256;
/// In so many places a text can be known: more would leave less for other texts.
const PLACES: usize = 4;
const WAYS: usize = 4;
/// A longer text is read each time. With the sets this bounds the memory.
const MAX_LEN: usize = 512;

/// How many threads have looked for a text; each has the number at which it came.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}

/// An endpoint as a request has it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Written<T> {
    /// In its query, encoded.
    Query(T),
    /// In its header.
    Header(T),
}

impl<T: Clone> RecentEndpoints<T> {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::default(),
            sets: (0..SETS).map(|_| Mutex::new(Set::new())).collect(),
        }
    }

    /// What `read` made of this text the last time, or makes of it now.
    pub(crate) fn get_or_read<E>(
        &self,
        written: Written<&[u8]>,
        read: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        if written.len() > MAX_LEN {
            return read();
        }
        let hash = self.hasher.hash_one(written);
        let set = &self.sets[THREAD.with(|&thread| place(hash, thread))];
        // Every update is a small one: a panic elsewhere leaves no set half written.
        let lock = || set.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(endpoint) = lock().find(hash, written) {
            return Ok(endpoint.clone());
        }
        let endpoint = read()?;
        lock().put(Known {
            hash,
            written: written.to_owned(),
            endpoint: endpoint.clone(),
        });
        Ok(endpoint)
    }
}

/// In which set a thread looks for a text.
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

    fn find(&self, hash: u64, written: Written<&[u8]>) -> Option<&T> {
        let same = |known: &&Known<T>| known.hash == hash && known.written.as_slice() == written;
        let found = self.known.iter().flatten().find(same);
        found.map(|known| &known.endpoint)
    }

    fn put(&mut self, known: Known<T>) {
        self.known[self.oldest] = Some(known);
        self.oldest = (self.oldest + 1) % WAYS;
    }
}

impl<T: AsRef<[u8]>> Written<T> {
    fn as_slice(&self) -> Written<&[u8]> {
        match self {
            Self::Query(text) => Written::Query(text.as_ref()),
            Self::Header(text) => Written::Header(text.as_ref()),
        }
    }
}

impl Written<&[u8]> {
    fn len(self) -> usize {
        match self {
            Self::Query(text) | Self::Header(text) => text.len(),
        }
    }

    fn to_owned(self) -> Written<Box<[u8]>> {
        match self {
            Self::Query(text) => Written::Query(text.into()),
            Self::Header(text) => Written::Header(text.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::Arc, thread};

    use super::*;
    use crate::{Endpoint, EndpointError, EndpointPolicy};

    fn check(text: &str) -> Result<Endpoint, EndpointError> {
        EndpointPolicy::public().check(text)
    }

    #[test]
    fn says_what_reading_says_also_the_second_time() {
        let recent = RecentEndpoints::new();
        for at in 0..8 * SETS * WAYS {
            let text = format!("https://example.com/{}", at % (2 * SETS * WAYS));
            let written = Written::Header(text.as_bytes());
            let endpoint = recent.get_or_read(written, || check(&text)).unwrap();
            assert_eq!(endpoint.uri(), text.as_str());
        }
        let refused = Written::Header(&b"https://127.0.0.1/"[..]);
        for _ in 0..2 {
            let read = || check("https://127.0.0.1/");
            assert!(recent.get_or_read(refused, read).is_err());
        }
    }

    #[test]
    fn a_known_text_is_not_read_again() {
        let recent = RecentEndpoints::new();
        let written = Written::Query(&b"https%3A%2F%2Fexample.com%2Fa"[..]);
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
        let written = Written::Query(&b"https%3A%2F%2Fexample.com%2Fa"[..]);
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
            .get_or_read(Written::Query(&text[..]), query)
            .unwrap();
        let unknown = recent.get_or_read(Written::Header(&text[..]), || Err(()));
        assert!(unknown.is_err());
    }

    #[test]
    fn a_long_text_is_read_each_time() {
        let recent = RecentEndpoints::new();
        let long = [b'a'; MAX_LEN + 1];
        let read = || check("https://example.com/");
        recent.get_or_read(Written::Query(&long[..]), read).unwrap();
        assert!(
            recent
                .get_or_read(Written::Query(&long[..]), || Err(()))
                .is_err()
        );
    }
}
