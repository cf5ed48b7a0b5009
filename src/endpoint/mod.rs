//! Where webhooks may go.
//!
//! An [`EndpointPolicy`] judges the URL that a caller names, and the addresses that its host
//! resolves to. A URL that it accepts is an [`Endpoint`].

mod address;
mod error;
mod host;
mod name;
mod origin;
mod policy;
mod read;
mod recent;
mod rules;

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use http::{HeaderValue, Uri};

use self::rules::Rules;
pub use self::{
    error::{EndpointError, EndpointErrorKind},
    host::Host,
    policy::EndpointPolicy,
};
pub(crate) use self::{
    host::HostMap,
    origin::Origin,
    recent::{EndpointText, RecentEndpoints},
};

/// A URL that a caller named and an [`EndpointPolicy`] accepted.
///
/// Only [`EndpointPolicy::check`] creates one. It is cheap to clone. Its path and its query may
/// carry tokens, so [`Debug`](fmt::Debug) and [`Display`](fmt::Display) show only the scheme, the
/// host and the port.
///
/// ```
/// use tower_webhook::EndpointPolicy;
///
/// let endpoint = EndpointPolicy::public().check("https://Hooks.Example.com./in?token=1")?;
/// assert_eq!(endpoint.host(), "hooks.example.com");
/// assert_eq!(endpoint.port(), 443);
/// assert_eq!(endpoint.uri(), "https://hooks.example.com/in?token=1");
/// assert_eq!(endpoint.to_string(), "https://hooks.example.com:443");
/// # Ok::<(), tower_webhook::endpoint::EndpointError>(())
/// ```
#[derive(Clone)]
pub struct Endpoint {
    inner: Arc<Inner>,
}

struct Inner {
    uri: Uri,
    /// The URI's path and query, as a request's target.
    #[cfg_attr(not(feature = "client"), allow(dead_code))] // the crate's own client uses it
    origin_form: Uri,
    host_header: HeaderValue,
    origin: Origin,
    address: Option<IpAddr>,
    /// The rules that accepted it. A policy with these same rules need not judge it again.
    permitted_by: Option<Arc<Rules>>,
}

/// The endpoint of calls that name none, and look up their result instead. No name below `invalid` is
/// ever anybody's (RFC 6761): who names it as an endpoint gets the same, and nothing is sent either.
const POLLING: &str = "https://polling.invalid/";

impl Endpoint {
    /// Where nothing is sent: the caller looks the result up.
    pub(crate) fn of_polling() -> Self {
        static ENDPOINT: OnceLock<Endpoint> = OnceLock::new();
        let read = || read::read(POLLING, false).expect("it is a URL");
        ENDPOINT.get_or_init(read).clone()
    }

    /// Whether it is [where nothing is sent](Self::of_polling).
    pub(crate) fn is_of_polling(&self) -> bool {
        self.host() == "polling.invalid"
    }

    /// The absolute URI to send to. It has no user name, no fragment, no trailing dot after the
    /// host, and no port where that is the scheme's default.
    ///
    /// It is sensitive, like [`to_url_string`](Self::to_url_string).
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.inner.uri
    }

    /// The host: a lower-case ASCII name without a trailing dot, or an address in its canonical
    /// form, an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host_key().as_str()
    }

    /// The host as a map key.
    #[must_use]
    pub fn host_key(&self) -> &Host {
        &self.inner.origin.host
    }

    /// The scheme, host and port to connect to.
    #[cfg_attr(not(feature = "client"), allow(dead_code))] // the crate's own client uses it
    pub(crate) fn origin(&self) -> &Origin {
        &self.inner.origin
    }

    /// The target of a request to this endpoint: its path and query.
    #[cfg_attr(not(feature = "client"), allow(dead_code))] // the crate's own client uses it
    pub(crate) fn origin_form(&self) -> Uri {
        self.inner.origin_form.clone()
    }

    /// The value of a request's `Host` header.
    pub(crate) fn host_header(&self) -> HeaderValue {
        self.inner.host_header.clone()
    }

    /// The port: the one in the URL, or the scheme's default.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.inner.origin.port
    }

    /// Whether the scheme is `https`; otherwise it is `http`.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.inner.origin.https
    }

    /// The whole URL in its normal form. It can be stored and later passed to
    /// [`EndpointPolicy::check`], which returns an equal endpoint unless the policy has become
    /// stricter in the meantime.
    ///
    /// It is sensitive: the path and the query may carry tokens. Keep it out of logs.
    #[must_use]
    pub fn to_url_string(&self) -> String {
        self.inner.uri.to_string()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https() { "https" } else { "http" };
        match self.inner.address {
            Some(IpAddr::V6(address)) => write!(f, "{scheme}://[{address}]:{}", self.port()),
            _ => write!(f, "{scheme}://{}:{}", self.host(), self.port()),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_scheme_host_and_port_is_shown() {
        let policy = EndpointPolicy::public().with_insecure_http();
        let endpoint = policy
            .check("http://hooks.example.com/secret-path?secret=query#secret")
            .unwrap();
        assert_eq!(endpoint.to_string(), "http://hooks.example.com:80");
        assert_eq!(
            format!("{endpoint:?}"),
            "Endpoint(http://hooks.example.com:80)"
        );

        let endpoint = policy.check("https://[2606:4700::1]:8443/x").unwrap();
        assert_eq!(endpoint.to_string(), "https://[2606:4700::1]:8443");
        assert_eq!(endpoint.host(), "2606:4700::1");
        assert!(endpoint.is_https());
    }

    #[test]
    fn what_is_polled_is_known_again_when_it_is_read() {
        let polling = Endpoint::of_polling();
        assert!(polling.is_of_polling());
        // As an outbox reads it.
        let policy = EndpointPolicy::public().with_insecure_private_networks();
        let read = policy.check(&polling.to_url_string()).unwrap();
        assert!(read.is_of_polling());
        let other = policy
            .check("https://polling.invalid.example.com/")
            .unwrap();
        assert!(!other.is_of_polling());
    }

    #[test]
    fn clones_share_their_host() {
        let endpoint = EndpointPolicy::public()
            .check("https://example.com")
            .unwrap();
        assert!(Arc::ptr_eq(
            endpoint.host_key().name(),
            endpoint.clone().host_key().name()
        ));
    }
}
