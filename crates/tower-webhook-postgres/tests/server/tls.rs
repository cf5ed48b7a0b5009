//! TLS to the server: always verified, never downgraded.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tower_webhook::outbox::Outbox;
use tower_webhook_postgres::{PostgresOutboxBuilder, PostgresOutboxErrorKind as Kind};

use crate::{
    deliveries::new,
    stuck_commits::assert_leaves_none_behind,
    support::{place::Place, server::Server},
};

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server with a certificate of this authority.
fn server_of(authority: &CertifiedIssuer<'static, KeyPair>) -> Option<Server> {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    let files = [
        ("server.crt", &*certificate.pem()),
        ("server.key", &*key.serialize_pem()),
    ];
    let settings = ["listen_addresses=127.0.0.1", "ssl=on"];
    Server::start_with(&settings, &files)
}

fn over_tcp(server: &Server, more: &str) -> Place {
    let port = server.port();
    Place {
        url: format!("postgres://postgres@localhost:{port}/postgres?hostaddr=127.0.0.1{more}"),
        ..server.place()
    }
}

async fn refusal(builder: PostgresOutboxBuilder) -> Kind {
    builder.open().await.unwrap_err().kind()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_trusted_by_its_root_alone() {
    let (authority, another) = (authority(), authority());
    let Some(server) = server_of(&authority) else {
        return;
    };
    for more in [
        "",
        "&sslmode=prefer",
        "&sslmode=require",
        "&sslmode=verify-full",
    ] {
        let place = over_tcp(&server, more);
        let trusting = place
            .builder()
            .with_root_certificates(authority.pem())
            .unwrap();
        let outbox = trusting.open().await.unwrap();
        outbox
            .insert(vec![new("a.example", "done", false)])
            .await
            .unwrap();
        let query = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                     WHERE application_name = 'tower-webhook' AND NOT ssl";
        let plain = server.sql().await.query_one(query, &[]).await.unwrap();
        assert_eq!(plain.get::<_, i64>(0), 0, "{more}");
        let other = place
            .builder()
            .with_root_certificates(another.pem())
            .unwrap();
        assert_eq!(refusal(other).await, Kind::Tls, "{more}");
        assert_eq!(refusal(place.builder()).await, Kind::Tls, "{more}");
    }
    // The certificate is not valid for another name.
    let mut place = over_tcp(&server, "");
    place.url = place.url.replace("localhost", "db.example");
    let trusting = place
        .builder()
        .with_root_certificates(authority.pem())
        .unwrap();
    assert_eq!(refusal(trusting).await, Kind::Tls);
}

#[tokio::test(flavor = "multi_thread")]
async fn inserts_that_time_out_are_cancelled_over_tls() {
    let authority = authority();
    let Some(server) = server_of(&authority) else {
        return;
    };
    let builder = over_tcp(&server, "").builder();
    let builder = builder.with_root_certificates(authority.pem()).unwrap();
    let builder = builder.with_timeout(Duration::from_secs(1));
    assert_leaves_none_behind(&server, builder.open().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_refused_unless_that_is_asked_for() {
    let Some(server) = Server::start(&["listen_addresses=127.0.0.1"]) else {
        return;
    };
    for more in ["", "&sslmode=prefer", "&sslmode=require"] {
        let refused = refusal(over_tcp(&server, more).builder()).await;
        assert_eq!(refused, Kind::Tls, "{more}");
    }
    let plain = over_tcp(&server, "&sslmode=disable");
    assert!(plain.builder().open().await.is_ok());
}
