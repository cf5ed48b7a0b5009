use std::sync::Arc;

use super::{SealingKey, SqliteOutboxError};
use crate::{RequestId, Secret};

/// How secrets stand in the file.
#[derive(Debug)]
pub(super) enum Secrets {
    Sealed(SealingKey),
    InTheClear,
}

/// Stands where a key's name would.
const PLAINTEXT: &str = "plaintext";

impl Secrets {
    pub(super) fn seal(
        &self,
        secret: &Secret,
        id: &RequestId,
    ) -> Result<(Vec<u8>, Arc<str>), SqliteOutboxError> {
        match self {
            Self::Sealed(key) => {
                let sealed = key.seal(secret, id)?;
                Ok((sealed.bytes, sealed.key))
            }
            Self::InTheClear => Ok((secret.expose().to_vec(), PLAINTEXT.into())),
        }
    }

    /// `None` when there is a secret that cannot be read.
    pub(super) fn open(
        &self,
        secret: Option<&[u8]>,
        key: Option<&str>,
        id: &RequestId,
    ) -> Option<Option<Secret>> {
        match (secret, key, self) {
            (None, None, _) => Some(None),
            (Some(secret), Some(PLAINTEXT), _) => Some(Some(Secret::new(secret))),
            (Some(secret), Some(name), Self::Sealed(key)) => key.open(secret, name, id).map(Some),
            _ => None,
        }
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        match self {
            Self::Sealed(key) => name == PLAINTEXT || key.knows(name),
            Self::InTheClear => name == PLAINTEXT,
        }
    }
}
