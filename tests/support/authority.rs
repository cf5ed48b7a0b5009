//! Certificates, and who signs them.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::hostile::Api;

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// An API that trusts it.
    pub(crate) fn trusted(&self) -> Api {
        Api::with(|builder| {
            let pem = self.pem();
            builder.with_root_certificates(pem.as_bytes()).unwrap()
        })
    }

    pub(crate) fn certify(&self, params: &CertificateParams) -> TlsAcceptor {
        self.certify_with(params, |_| {})
    }

    pub(crate) fn certify_with(
        &self,
        params: &CertificateParams,
        settings: impl FnOnce(&mut ServerConfig),
    ) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let mut config = config(&certificate, &key);
        settings(&mut config);
        TlsAcceptor::from(Arc::new(config))
    }
}

pub(crate) fn named(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).unwrap()
}

pub(crate) fn acceptor(certificate: &rcgen::Certificate, key: &KeyPair) -> TlsAcceptor {
    TlsAcceptor::from(Arc::new(config(certificate, key)))
}

fn config(certificate: &rcgen::Certificate, key: &KeyPair) -> ServerConfig {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap()
}
