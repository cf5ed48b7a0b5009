use std::fmt;

use http::HeaderName;

const MAX_LEN: usize = 64;

/// The sender's name as it appears in the names of the signature headers.
///
/// `Brand::new("Acme")` stands for `X-Acme-Webhook-Timestamp` and
/// `X-Acme-Webhook-Signature`. The default is `Cerebrium`. Senders and
/// receivers must agree on it; the Standard Webhooks headers carry no brand.
///
/// A brand is cheap to clone.
///
/// ```
/// use tower_webhook::delivery::Brand;
///
/// let brand = Brand::new("Acme")?;
/// assert_eq!(brand, Brand::new("ACME")?); // header names ignore case
/// assert_ne!(brand, Brand::default());
/// # Ok::<(), tower_webhook::delivery::InvalidBrand>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brand {
    timestamp: HeaderName,
    signature: HeaderName,
}

impl Brand {
    /// A brand of that name: 1 to 64 of the characters `A-Z a-z 0-9 -`, neither
    /// starting nor ending with `-`.
    ///
    /// # Errors
    ///
    /// [`InvalidBrand`] for any other name. Underscores are refused although
    /// HTTP allows them in header names: common proxies drop such headers.
    pub fn new(name: &str) -> Result<Self, InvalidBrand> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if name.is_empty()
            || name.len() > MAX_LEN
            || !name.bytes().all(allowed)
            || name.starts_with('-')
            || name.ends_with('-')
        {
            return Err(InvalidBrand);
        }
        let header = |what: &str| {
            HeaderName::try_from(format!("x-{name}-webhook-{what}")).map_err(|_| InvalidBrand)
        };
        Ok(Self {
            timestamp: header("timestamp")?,
            signature: header("signature")?,
        })
    }

    /// `X-{brand}-Webhook-Timestamp`
    pub(crate) fn timestamp(&self) -> &HeaderName {
        &self.timestamp
    }

    /// `X-{brand}-Webhook-Signature`
    pub(crate) fn signature(&self) -> &HeaderName {
        &self.signature
    }
}

impl Default for Brand {
    /// `Cerebrium`
    fn default() -> Self {
        Self {
            timestamp: HeaderName::from_static("x-cerebrium-webhook-timestamp"),
            signature: HeaderName::from_static("x-cerebrium-webhook-signature"),
        }
    }
}

/// The name cannot be a [`Brand`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidBrand;

impl fmt::Display for InvalidBrand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a brand must be 1 to 64 letters, digits and inner hyphens")
    }
}

impl std::error::Error for InvalidBrand {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_is_cerebrium() {
        assert_eq!(Brand::default(), Brand::new("Cerebrium").unwrap());
    }

    #[test]
    fn names_follow_the_brand() {
        let brand = Brand::new("Acme-2").unwrap();
        assert_eq!(brand.timestamp(), "x-acme-2-webhook-timestamp");
        assert_eq!(brand.signature(), "x-acme-2-webhook-signature");
    }

    #[test]
    fn length_has_bounds() {
        assert!(Brand::new("a").is_ok());
        assert!(Brand::new(&"a".repeat(MAX_LEN)).is_ok());
        assert!(Brand::new(&"a".repeat(MAX_LEN + 1)).is_err());
    }

    #[test]
    fn anything_else_is_refused() {
        for name in [
            "", "-", "-a", "a-", "a_b", "a b", "a:", "a\r\n", "ä", "a.b", "a\0",
        ] {
            assert_eq!(Brand::new(name), Err(InvalidBrand), "{name:?}");
        }
    }
}
