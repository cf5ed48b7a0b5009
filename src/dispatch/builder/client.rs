//! What makes the attempts.

#[cfg(feature = "client")]
use std::sync::Arc;

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::DispatcherBuilder;
#[cfg(feature = "client")]
use crate::attempt::{InvalidCertificate, Resolve};
use crate::{attempt::Client, delivery::Payload, error::BoxError};

impl DispatcherBuilder {
    /// Sends with this client instead of the crate's own: for mutual TLS, an egress proxy, or a
    /// test.
    ///
    /// What it is given is complete and signed. The dispatcher keeps the attempt's time and reads
    /// the answer. A client must follow no redirects. **It does not have the crate's guard**: the
    /// endpoint's URL was judged, but it is the client's business which addresses its name is
    /// resolved to and connected to.
    pub fn with_client<C, B>(mut self, client: C) -> Self
    where
        C: Service<Request<Payload>, Response = Response<B>> + Clone + Send + Sync + 'static,
        C::Future: Send,
        C::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        self.client = Some(Client::of(client));
        self
    }

    /// Resolves endpoint names with this instead of the system's name servers. What it answers is
    /// judged all the same. Without effect on a [client of one's own](Self::with_client).
    #[cfg(feature = "client")]
    pub fn with_resolver(mut self, resolver: impl Resolve) -> Self {
        self.guarded.resolver = Some(Arc::new(resolver));
        self
    }

    /// How many sockets the crate's own client may have open, at least 8. Default: half of the files
    /// that this process may open (the soft limit `RLIMIT_NOFILE` when the dispatcher is built, or
    /// 1,024 on systems without one), but not more than 1,536, or three for each attempt that may be
    /// under way. The other half is the service's own.
    ///
    /// Every socket counts. A half of them is for connections, those that are kept for later attempts
    /// included; a quarter for second addresses, which are tried beside one that is silent; and a
    /// quarter for look-ups, of which each takes up to four, and 80 at most are under way. Where there
    /// is no room the oldest connection that is kept is closed, a second address waits for the first
    /// one, and a name waits for its turn.
    ///
    /// What a [resolver](Self::with_resolver) or a [client](Self::with_client) of one's own opens is
    /// not counted.
    ///
    /// ```
    /// use tower_webhook::Dispatcher;
    ///
    /// // 100 attempts at the same time, in a process that has other use for its files.
    /// let dispatcher = Dispatcher::builder().with_max_sockets(200).build();
    /// ```
    #[cfg(feature = "client")]
    pub fn with_max_sockets(mut self, number: usize) -> Self {
        self.guarded.max_sockets = Some(number);
        self
    }

    /// Trusts the certificates of this PEM text as well as the public roots. Without effect on a
    /// [client of one's own](Self::with_client).
    ///
    /// # Errors
    ///
    /// When there is no certificate in it, or one that cannot be read.
    #[cfg(feature = "client")]
    pub fn with_root_certificates(mut self, pem: &[u8]) -> Result<Self, InvalidCertificate> {
        self.guarded.add_roots(pem)?;
        Ok(self)
    }
}
