use std::str::FromStr;

use hyper::{
    Uri,
    http::uri::{Authority, Parts, PathAndQuery, Scheme},
};

/// The service behind the proxy.
#[derive(Clone, Debug)]
pub(crate) struct Upstream(Authority);

impl Upstream {
    /// Where a call for `target` goes: the same path and query, byte for byte.
    pub(crate) fn uri(&self, target: &Uri) -> Uri {
        let root = || PathAndQuery::from_static("/");
        let mut parts = Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.0.clone());
        parts.path_and_query = Some(target.path_and_query().cloned().unwrap_or_else(root));
        Uri::from_parts(parts).expect("scheme, authority and path make a URI")
    }
}

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
        let parts = uri.into_parts();
        if parts.scheme != Some(Scheme::HTTP) {
            return Err("must begin with http://".to_owned());
        }
        if parts.path_and_query.is_some_and(|rest| rest != "/") {
            return Err("must end after the host and port: the path is the caller's".to_owned());
        }
        match parts.authority {
            Some(authority) if !authority.as_str().contains('@') => Ok(Self(authority)),
            Some(_) => Err("must have no user name".to_owned()),
            None => Err("has no host".to_owned()),
        }
    }
}
