//! Who may come in, and over what: TLS, tokens, files of credentials.

use std::{fs, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower_webhook_nats::JetStreamOutboxErrorKind as Kind;

use crate::{
    scene::{fetch, ids, put},
    set_up::refused_with,
    support::{builder, server::Server},
};

/// A certificate of `localhost` and its authority, as files.
struct Certificates {
    folder: TempDir,
}

impl Certificates {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = authority.self_signed(&authority_key).unwrap();
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let own = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let own = own.signed_by(&key, &issuer).unwrap();
        for (name, pem) in [
            ("authority.pem", certificate.pem()),
            ("certificate.pem", own.pem()),
            ("key.pem", key.serialize_pem()),
        ] {
            fs::write(folder.path().join(name), pem).unwrap();
        }
        Self { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn server(&self) -> Option<Server> {
        let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| self.file(name));
        Server::start_with(&format!(
            "max_payload: 8MB\ntls {{ cert_file: \"{}\", key_file: \"{}\" }}",
            certificate.display(),
            key.display()
        ))
    }
}

#[tokio::test]
async fn a_server_with_tls_is_trusted_by_its_authority_alone() {
    let certificates = Certificates::new();
    let Some(server) = certificates.server() else {
        return;
    };
    let address = format!("tls://localhost:{}", server.port());
    let error = builder(&address, "a").connect().await.unwrap_err();
    assert!(matches!(
        error.kind(),
        Kind::Credentials | Kind::Unreachable
    ));
    let trusting = || {
        let authority = certificates.file("authority.pem");
        builder(&address, "a").with_root_certificates(authority)
    };
    let outbox = trusting().with_required_tls().connect().await.unwrap();
    let all = put(&outbox, 3, "a.example").await;
    assert_eq!(ids(&fetch(&outbox, 3).await), all);
    // The certificate is of another name.
    let address = format!("tls://127.0.0.1:{}", server.port());
    let authority = certificates.file("authority.pem");
    let other = builder(&address, "a").with_root_certificates(authority);
    assert!(other.connect().await.is_err());
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_it_is_required() {
    let Some(server) = Server::start() else {
        return;
    };
    let required = builder(&server.address(), "a").with_required_tls();
    assert!(required.connect().await.is_err());
}

#[tokio::test]
async fn a_token_opens() {
    let settings = "max_payload: 8MB\nauthorization { token: hush-hush }";
    let Some(server) = Server::start_with(settings) else {
        return;
    };
    let wrong = builder(&server.address(), "a").with_token("hush-hash");
    assert!(!format!("{wrong:?}").contains("hush"));
    refused_with(wrong, Kind::Unauthorized, "").await;
    let right = builder(&server.address(), "a").with_token("hush-hush");
    right.connect().await.unwrap();
}

/// A token of NATS: what `by` says of `of`.
fn token(by: &KeyPair, of: &KeyPair, says: &Value) -> String {
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = encoded(&json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let claims = encoded(&json!({
        "jti": "1", "iat": 1, "iss": by.public_key(), "name": "test", "sub": of.public_key(), "nats": says,
    }));
    let signed = format!("{head}.{claims}");
    let signature = URL_SAFE_NO_PAD.encode(by.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{signature}")
}

/// A server as those who run many accounts have it, and a file with which one user logs in.
struct Operated {
    server: Server,
    folder: TempDir,
}

impl Operated {
    fn start() -> Option<Self> {
        let [operator, system, account] = [
            KeyPair::new_operator(),
            KeyPair::new_account(),
            KeyPair::new_account(),
        ];
        let user = KeyPair::new_user();
        let of_account =
            |limits: &Value| json!({ "type": "account", "version": 2, "limits": limits });
        let any = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
            "conn": -1, "leaf": -1,
        });
        let mut with_streams = any.clone();
        for name in ["mem_storage", "disk_storage", "streams", "consumer"] {
            with_streams[name] = json!(-1);
        }
        let says = json!({ "type": "operator", "version": 2 });
        let settings = format!(
            "max_payload: 8MB\noperator: {}\nsystem_account: {}\nresolver: MEMORY\n\
             resolver_preload: {{ {}: {}, {}: {} }}",
            token(&operator, &operator, &says),
            system.public_key(),
            system.public_key(),
            token(&operator, &system, &of_account(&any)),
            account.public_key(),
            token(&operator, &account, &of_account(&with_streams)),
        );
        let server = Server::start_with(&settings)?;
        let says = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            token(&account, &user, &says),
            user.seed().unwrap(),
        );
        fs::write(folder.path().join("webhooks.creds"), text).unwrap();
        Some(Self { server, folder })
    }
}

#[tokio::test]
async fn a_file_of_credentials_opens() {
    let Some(Operated { server, folder }) = Operated::start() else {
        return;
    };
    let address = server.address();
    refused_with(builder(&address, "a"), Kind::Unauthorized, "").await;
    let file = folder.path().join("webhooks.creds");
    let outbox = builder(&address, "a").with_credentials_file(file);
    let outbox = outbox.connect().await.unwrap();
    let all = put(&outbox, 3, "a.example").await;
    assert_eq!(ids(&fetch(&outbox, 3).await), all);
}
