use std::str::FromStr;

use hyper::{
    Uri,
    http::uri::{Authority, Parts, PathAndQuery, Scheme},
};

/// The service behind the proxy.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    scheme: Scheme,
    authority: Authority,
}

impl Upstream {
    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(crate) fn is_https(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// Where to connect to.
    pub(crate) fn uri(&self) -> Uri {
        self.at(Some(self.authority.clone()), PathAndQuery::from_static("/"))
    }

    /// What a request for `target` at `host` says: the same path and query, byte for byte. On
    /// HTTP/1 the host is in `Host`.
    pub(crate) fn target(&self, target: &Uri, host: Authority, http2: bool) -> Uri {
        let root = || PathAndQuery::from_static("/");
        let path = target.path_and_query().cloned().unwrap_or_else(root);
        self.at(http2.then_some(host), path)
    }

    fn at(&self, host: Option<Authority>, path: PathAndQuery) -> Uri {
        let mut parts = Parts::default();
        parts.scheme = host.is_some().then(|| self.scheme.clone());
        parts.authority = host;
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).expect("a path, or scheme, authority and path make a URI")
    }
}

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
        let parts = uri.into_parts();
        let scheme = parts.scheme.unwrap_or(Scheme::HTTP);
        let has_scheme = text.contains("://") && [Scheme::HTTP, Scheme::HTTPS].contains(&scheme);
        if !has_scheme {
            return Err("must begin with http:// or https://".to_owned());
        }
        if parts.path_and_query.is_some_and(|rest| rest != "/") {
            return Err("must end after the host and port: the path is the caller's".to_owned());
        }
        match parts.authority {
            Some(authority) if !authority.as_str().contains('@') => Ok(Self { scheme, authority }),
            Some(_) => Err("must have no user name".to_owned()),
            None => Err("has no host".to_owned()),
        }
    }
}
