use std::{error::Error, fmt};

/// Why an endpoint, or a setting of an [`EndpointPolicy`](super::EndpointPolicy), is not
/// acceptable.
///
/// It holds the rule that was broken and nothing else. Neither [`Display`](fmt::Display) nor
/// [`Debug`](fmt::Debug) shows any part of the URL or an address, so it can be logged and
/// returned to a caller unchanged. Each rule has one fixed sentence. The sentences may change; to
/// tell rules apart in code, use [`kind`](Self::kind).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EndpointError {
    kind: EndpointErrorKind,
}

/// The rule whose violation an [`EndpointError`] reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndpointErrorKind {
    /// Longer than 2,048 bytes, as given or in its normal form.
    TooLong,
    /// Contains white space, a control character or a backslash.
    Character,
    /// Does not start with `https://`, nor with `http://` where the policy allows that.
    Scheme,
    /// Does not start with a scheme at all, such as `example.com/hook`.
    NoScheme,
    /// Contains a user name or a password.
    UserInfo,
    /// Is not a valid URL, has no host, or its host is not a valid name or address.
    Malformed,
    /// The port is not a number from 1 to 65,535, or is not an allowed one.
    Port,
    /// The host is a name of a single label, such as `intranet`.
    SingleLabel,
    /// The host is a name for local use, such as `localhost` or one in `.internal`.
    LocalName,
    /// The host is on the policy's deny list, or missing from its allow list and its permits.
    Host,
    /// The host is an address that is not public, or is in a denied network.
    Address,
    /// A setting is neither a host name nor `*.` followed by one.
    InvalidHost,
    /// A setting is neither a network such as `192.0.2.0/24` nor an address, or not a network as
    /// the setting needs it.
    InvalidNetwork,
}

impl EndpointError {
    pub(super) const fn new(kind: EndpointErrorKind) -> Self {
        Self { kind }
    }

    /// The rule that was broken.
    #[must_use]
    pub const fn kind(&self) -> EndpointErrorKind {
        self.kind
    }

    /// A short name for the rule, which stays as it is.
    pub(crate) const fn rule(self) -> &'static str {
        match self.kind {
            EndpointErrorKind::TooLong => "endpoint-too-long",
            EndpointErrorKind::Character => "endpoint-character",
            EndpointErrorKind::Scheme => "endpoint-scheme",
            EndpointErrorKind::NoScheme => "endpoint-without-scheme",
            EndpointErrorKind::UserInfo => "endpoint-user-info",
            EndpointErrorKind::Malformed => "endpoint-malformed",
            EndpointErrorKind::Port => "endpoint-port",
            EndpointErrorKind::SingleLabel => "endpoint-single-label",
            EndpointErrorKind::LocalName => "endpoint-local-name",
            EndpointErrorKind::Host => "endpoint-host",
            EndpointErrorKind::Address => "endpoint-address",
            EndpointErrorKind::InvalidHost | EndpointErrorKind::InvalidNetwork => {
                "endpoint-setting"
            }
        }
    }

    pub(crate) const fn sentence(self) -> &'static str {
        match self.kind {
            EndpointErrorKind::TooLong => "the endpoint is longer than 2048 bytes",
            EndpointErrorKind::Character => {
                "the endpoint contains white space, a control character or a backslash"
            }
            EndpointErrorKind::Scheme => "the endpoint's scheme is not allowed",
            EndpointErrorKind::NoScheme => {
                "the endpoint has no scheme: an absolute URL starts with its scheme, such as `https`"
            }
            EndpointErrorKind::UserInfo => "the endpoint contains a user name or a password",
            EndpointErrorKind::Malformed => "the endpoint is not a valid absolute URL",
            EndpointErrorKind::Port => "the endpoint's port is not allowed",
            EndpointErrorKind::SingleLabel => "the endpoint's host is not a fully qualified name",
            EndpointErrorKind::LocalName => "the endpoint's host is a name for local use",
            EndpointErrorKind::Host => "the endpoint's host is not allowed",
            EndpointErrorKind::Address => "the endpoint's address is not allowed",
            EndpointErrorKind::InvalidHost => "not a host name, nor `*.` followed by one",
            EndpointErrorKind::InvalidNetwork => {
                "not a suitable network in CIDR notation, nor an address"
            }
        }
    }
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl fmt::Debug for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EndpointError").field(&self.kind).finish()
    }
}

impl Error for EndpointError {}
