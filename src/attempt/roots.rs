use std::fmt;

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// The text contains no PEM certificate, or one that cannot be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct InvalidCertificate(());

/// The root certificates that browsers trust.
pub(super) fn public() -> RootCertStore {
    RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    }
}

/// Adds every certificate of a PEM text, or none if there is an error.
pub(super) fn add(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), InvalidCertificate> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| InvalidCertificate(()))?;
    if certificates.is_empty() {
        return Err(InvalidCertificate(()));
    }
    let mut more = roots.clone();
    for certificate in certificates {
        more.add(certificate).map_err(|_| InvalidCertificate(()))?;
    }
    *roots = more;
    Ok(())
}

impl fmt::Display for InvalidCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no certificate in PEM form, or one that cannot be read")
    }
}

impl fmt::Debug for InvalidCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InvalidCertificate")
    }
}

impl std::error::Error for InvalidCertificate {}
