//! Without the feature `ed25519` there are no such keys. What the rest does with them is written once,
//! and comes to nothing here.

use super::signature::Ed25519Signature;

#[derive(Clone, Debug)]
pub(crate) enum SigningKey {}

#[derive(Clone, Debug)]
pub(crate) enum PublicKey {}

impl SigningKey {
    pub(crate) fn sign(&self, _: &[&[u8]]) -> Ed25519Signature {
        match *self {}
    }
}

impl PublicKey {
    pub(crate) fn verifies(&self, _: &[&[u8]], _: &Ed25519Signature) -> bool {
        match *self {}
    }
}
