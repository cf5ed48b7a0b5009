use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState},
    sync::{Arc, OnceLock},
};

/// The host of an endpoint as a map key: cheap to clone, to hash, and to compare.
///
/// ```
/// use tower_webhook::EndpointPolicy;
///
/// let one = EndpointPolicy::public().check("https://example.com/a")?;
/// let other = EndpointPolicy::public().check("https://example.com/b")?;
/// assert_eq!(one.host_key(), other.host_key());
/// assert_eq!(one.host_key().as_str(), "example.com");
/// # Ok::<(), tower_webhook::endpoint::EndpointError>(())
/// ```
#[derive(Clone)]
pub struct Host {
    name: Arc<str>,
    /// The hash of the name, with a random key of this process that callers cannot guess. Each
    /// delivery is looked up by its host many times; the name is hashed once.
    hash: u64,
}

/// A map keyed by a [`Host`], or by a type whose hash derives from one.
pub(crate) type HostMap<K, V> = HashMap<K, V, BuildHasherDefault<Prehashed>>;

/// Returns the one number that was written to it: keys bring a finished hash.
#[derive(Default)]
pub(crate) struct Prehashed(u64);

impl Host {
    /// The host: a lower-case ASCII name without a trailing dot, or an address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The hash of the name, spread over all 64 bits.
    pub(crate) fn hash_value(&self) -> u64 {
        self.hash
    }
}

impl From<&str> for Host {
    fn from(name: &str) -> Self {
        static KEY: OnceLock<RandomState> = OnceLock::new();
        Self {
            name: name.into(),
            hash: KEY.get_or_init(RandomState::new).hash_one(name),
        }
    }
}

impl PartialEq for Host {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.name, &other.name) || self.hash == other.hash && self.name == other.name
    }
}

impl Eq for Host {}

impl Hash for Host {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Hasher for Prehashed {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("what is hashed with it is one number");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.name, f)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
