use std::hash::{Hash, Hasher};

use super::Host;

/// The scheme, host and port that a connection leads to, as a map key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) https: bool,
}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Most hosts are used with one port and one scheme, so this mix is good enough.
        let rest = u64::from(self.port) << 1 | u64::from(self.https);
        state.write_u64(self.host.hash_value() ^ rest);
    }
}
