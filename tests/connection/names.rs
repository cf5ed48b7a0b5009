//! One name for the resolver, the certificate and the receiver.

use std::sync::{Arc, Mutex};

use rustls::server::Acceptor;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc::unbounded_channel,
};
use tokio_rustls::LazyConfigAcceptor;

use crate::{
    TAKEN, TAKES,
    authority::{Authority, named},
    hostile::{Api, Receiver, found, header, within},
};

const SPELLINGS: [&str; 4] = [
    "receiver.example.com",
    "Receiver.EXAMPLE.com",
    "receiver.example.com.",
    "receiver%2Eexample。com",
];

#[tokio::test]
async fn the_resolver_and_the_receiver_see_the_normal_form() {
    for spelling in SPELLINGS {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let names = Arc::clone(&asked);
        let mut api = Api::resolving(move |name| {
            names.lock().unwrap().push(name.to_owned());
            found(["127.0.0.1"])
        });
        let receiver = Receiver::answering(TAKES);
        let attempted = api.attempt(&receiver.url_at(spelling)).await;
        assert_eq!(attempted.outcome, TAKEN);
        assert_eq!(
            *asked.lock().unwrap(),
            ["receiver.example.com"],
            "{spelling}"
        );
        let head = &receiver.requests()[0].head;
        let host = format!("receiver.example.com:{}", receiver.address.port());
        assert_eq!(header(head, "host"), Some(&*host), "{spelling}");
        assert!(head.starts_with("POST /hook HTTP/1.1\r\n"), "{head}");
    }
}

#[tokio::test]
async fn the_handshake_asks_for_the_normal_form() {
    let (tell, mut heard) = unbounded_channel();
    let receiver = Receiver::new(move |mut conn| {
        let tell = tell.clone();
        async move {
            let hello = LazyConfigAcceptor::new(Acceptor::default(), &mut conn.tcp);
            let hello = hello.await.unwrap();
            let name = hello.client_hello().server_name().map(str::to_owned);
            tell.send(name).unwrap();
        }
    });
    for host in SPELLINGS.into_iter().chain(["127.0.0.1"]) {
        let mut api = Api::new();
        let endpoint = format!("https://{host}:{}/hook", receiver.address.port());
        api.attempt(&endpoint).await;
        let name = within(heard.recv()).await.unwrap();
        let expected = (host != "127.0.0.1").then_some("receiver.example.com");
        assert_eq!(name.as_deref(), expected, "{host}");
    }
}

/// They are no host names, but they are names, and there are certificates for them.
#[tokio::test]
async fn a_name_with_an_underscore_is_delivered_to() {
    let authority = Authority::new();
    for (name, certified) in [
        ("my_app.example.com", "my_app.example.com"),
        ("my_app.example.com", "*.example.com"),
        ("_a._b.example.com", "_a._b.example.com"),
    ] {
        let acceptor = authority.certify(&named(certified));
        let receiver = Receiver::new(move |mut conn| {
            let acceptor = acceptor.clone();
            async move {
                let mut tls = acceptor.accept(&mut conn.tcp).await.unwrap();
                let mut head = Vec::new();
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    assert_ne!(tls.read_buf(&mut head).await.unwrap(), 0);
                }
                tls.write_all(TAKES.as_bytes()).await.unwrap();
                tls.shutdown().await.unwrap();
            }
        });
        let endpoint = format!("https://{name}:{}/hook", receiver.address.port());
        let attempted = authority.trusted().attempt(&endpoint).await;
        assert_eq!(attempted.outcome, TAKEN, "{name} as {certified}");
    }
}
