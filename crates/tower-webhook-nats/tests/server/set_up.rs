//! Set-up is one call, which says what does not fit.

use std::time::Duration;

use async_nats::{
    datetime,
    jetstream::{
        consumer::pull,
        stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, Stream},
    },
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
};
use tower_webhook::{Dispatcher, EndpointPolicy, delivery::DeliveryParts, outbox::SealingKey};
use tower_webhook_nats::{
    JetStreamOutbox, JetStreamOutboxBuilder, JetStreamOutboxError, JetStreamOutboxErrorKind as Kind,
};

use crate::{
    scene::jetstream,
    support::{builder, fresh_name, server::Server},
};

/// Nothing of the address is to be seen.
async fn refused(builder: JetStreamOutboxBuilder) -> JetStreamOutboxError {
    let error = builder.connect().await.unwrap_err();
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(!text.contains("127.0.0.1"), "{text}");
    }
    error
}

pub(crate) async fn refused_with(builder: JetStreamOutboxBuilder, kind: Kind, text: &str) {
    let error = refused(builder).await;
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(text), "{error}");
}

#[tokio::test]
async fn settings_are_looked_at_first() {
    let error = JetStreamOutbox::builder("nats://127.0.0.1:1")
        .connect()
        .await;
    assert_eq!(error.unwrap_err().kind(), Kind::NoKey);
    refused_with(builder("nats://127.0.0.1:1", "a.b"), Kind::InvalidName, "").await;
    refused_with(builder("nats://127.0.0.1:x", "a"), Kind::InvalidAddress, "").await;
    let no_file = builder("nats://127.0.0.1:1", "a").with_credentials_file("/nowhere");
    refused_with(no_file, Kind::Credentials, "").await;
}

#[tokio::test]
async fn nobody_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("nats://{}", listener.local_addr().unwrap());
    drop(listener);
    refused_with(builder(&address, "a"), Kind::Unreachable, "").await;
}

/// It accepts, and says nothing.
#[tokio::test]
async fn a_silent_server_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("nats://{}", listener.local_addr().unwrap());
    let outbox = builder(&address, "a").with_timeout(Duration::from_millis(200));
    refused_with(outbox, Kind::Unreachable, "").await;
}

#[tokio::test]
async fn an_old_server_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("nats://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let (read, mut write) = socket.into_split();
        let info = r#"INFO {"server_id":"a","server_name":"a","host":"a","port":1,"version":"2.9.10","go":"a","git_commit":"a","proto":1,"headers":true,"max_payload":8388608,"client_id":1,"client_ip":"a","auth_required":false,"tls_required":false}"#;
        write.write_all(info.as_bytes()).await.unwrap();
        write.write_all(b"\r\n").await.unwrap();
        let mut lines = BufReader::new(read).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if line == "PING" {
                write.write_all(b"PONG\r\n").await.unwrap();
            }
        }
    });
    refused_with(builder(&address, "a"), Kind::ServerTooOld, "2.9.10").await;
}

#[tokio::test]
async fn max_payload_is_held_against_the_largest_payload() {
    let Some(server) = Server::start_with("") else {
        return;
    };
    let address = server.address();
    refused_with(builder(&address, "a"), Kind::PayloadLimit, "1048576").await;
    let smaller = builder(&address, "a").with_max_payload(512 << 10);
    smaller.connect().await.unwrap();
}

#[tokio::test]
async fn an_account_needs_jetstream() {
    let accounts =
        "max_payload: 8MB\naccounts { A { users: [ { user: a, password: b } ] } }\nno_auth_user: a";
    let Some(server) = Server::start_with(accounts) else {
        return;
    };
    refused_with(builder(&server.address(), "a"), Kind::NoJetStream, "").await;
}

#[tokio::test]
async fn credentials_are_needed_and_not_shown() {
    let settings = "max_payload: 8MB\nauthorization { user: webhooks, password: hush-hush }";
    let Some(server) = Server::start_with(settings) else {
        return;
    };
    let address = server.address();
    refused_with(builder(&address, "a"), Kind::Unauthorized, "").await;
    let wrong = builder(&address, "a").with_user("webhooks", "hush-hash");
    assert!(!format!("{wrong:?}").contains("hush"));
    let error = refused(wrong).await;
    assert!(!format!("{error} {error:?}").contains("hush"));
    let right = builder(&address, "a").with_user("webhooks", "hush-hush");
    right.connect().await.unwrap();
}

#[tokio::test]
async fn three_replicas_need_three_servers() {
    let Some(server) = Server::start() else {
        return;
    };
    let three = builder(&server.address(), "a").with_replicas(3);
    refused_with(three, Kind::UnfitStream, "3 servers").await;
}

#[tokio::test]
async fn a_stream_that_does_not_fit_is_refused_and_left_as_it_is() {
    let Some(server) = Server::start() else {
        return;
    };
    let address = server.address();
    let context = jetstream(&address).await;
    let fits = |name: &str| Config {
        name: name.to_owned(),
        subjects: vec![format!("{name}.due")],
        retention: RetentionPolicy::WorkQueue,
        storage: StorageType::File,
        num_replicas: 1,
        ..Config::default()
    };
    type Change = fn(&mut Config);
    let changes: [(Change, &str); 7] = [
        (
            |config| config.retention = RetentionPolicy::Limits,
            "retention",
        ),
        (|config| config.max_message_size = 4_096, "max_msg_size"),
        (|config| config.storage = StorageType::Memory, "storage"),
        (
            |config| config.max_age = Duration::from_secs(3_600),
            "max_age",
        ),
        (|config| config.max_messages = 1_000, "oldest"),
        (
            |config| {
                config.discard = DiscardPolicy::New;
                config.max_messages_per_subject = 1_000;
            },
            "oldest",
        ),
        (
            |config| config.duplicate_window = Duration::from_secs(1),
            "duplicate_window",
        ),
    ];
    for (change, text) in changes {
        let name = fresh_name();
        let mut config = fits(&name);
        change(&mut config);
        context.create_stream(config).await.unwrap();
        let before = context.get_stream(&name).await.unwrap();
        refused_with(builder(&address, &name), Kind::UnfitStream, text).await;
        let after = context.get_stream(&name).await.unwrap();
        assert_eq!(before.cached_info().config, after.cached_info().config);
    }
    let name = fresh_name();
    context.create_stream(fits(&name)).await.unwrap();
    builder(&address, &name).connect().await.unwrap();
    // Without the number of its last attempt, a delivery is attempted for ever.
    let changes: [(Change, &str); 4] = [
        (|config| config.max_messages = 1_000, "numbers"),
        (
            |config| config.max_age = Duration::from_secs(3_600),
            "max_age",
        ),
        (|config| config.max_message_size = 8, "max_msg_size"),
        (
            |config| {
                config.discard = DiscardPolicy::New;
                config.discard_new_per_subject = true;
            },
            "refuses",
        ),
    ];
    for (change, text) in changes {
        let name = fresh_name();
        let mut numbers = fits(&format!("{name}-attempts"));
        numbers.subjects = vec![format!("{name}.attempt.*")];
        numbers.retention = RetentionPolicy::Limits;
        numbers.max_messages_per_subject = 1;
        change(&mut numbers);
        context.create_stream(numbers).await.unwrap();
        refused_with(builder(&address, &name), Kind::UnfitStream, text).await;
    }
}

#[tokio::test]
async fn a_consumer_that_does_not_fit_is_refused() {
    let Some(server) = Server::start() else {
        return;
    };
    let address = server.address();
    let context = jetstream(&address).await;
    type Change = fn(&mut pull::Config);
    let changes: [(Change, &str); 8] = [
        (|config| config.max_ack_pending = 100, "max_ack_pending"),
        (|config| config.max_deliver = 5, "max_deliver"),
        (|config| config.max_batch = 10, "one pull"),
        (|config| config.max_bytes = 4_096, "one pull"),
        (
            |config| config.max_expires = Duration::from_millis(10),
            "max_expires",
        ),
        (
            |config| config.pause_until = Some(datetime::now() + Duration::from_secs(3_600)),
            "paused",
        ),
        (
            |config| config.ack_wait = Duration::from_secs(7),
            "ack_wait",
        ),
        (
            |config| config.durable_name = Some("other".to_owned()),
            "another consumer",
        ),
    ];
    for (change, text) in changes {
        let name = fresh_name();
        drop(builder(&address, &name).connect().await.unwrap());
        let stream: Stream = context.get_stream(&name).await.unwrap();
        stream.delete_consumer("deliver").await.unwrap();
        let mut config = pull::Config {
            durable_name: Some("deliver".to_owned()),
            ack_wait: Duration::from_secs(30),
            max_ack_pending: -1,
            filter_subject: format!("{name}.due"),
            ..pull::Config::default()
        };
        change(&mut config);
        stream.create_consumer(config).await.unwrap();
        refused_with(builder(&address, &name), Kind::UnfitConsumer, text).await;
    }
}

/// With a wrong key, all that waits would become dead letters.
#[tokio::test]
async fn a_key_that_opens_nothing_of_what_waits_is_refused() {
    let Some(server) = Server::start() else {
        return;
    };
    let (address, name) = (server.address(), fresh_name());
    let outbox = builder(&address, &name).connect().await.unwrap();
    let dispatcher = Dispatcher::builder().with_outbox(outbox);
    let dispatcher = dispatcher.without_attempts().build();
    let endpoint = EndpointPolicy::public().check("https://a.example/hook");
    let parts = DeliveryParts::new(endpoint.unwrap(), "done".into());
    dispatcher.deliver(parts).await.unwrap();
    dispatcher.shutdown(Duration::from_secs(1)).await;
    let wrong = || builder(&address, &name).with_key(SealingKey::from_bytes([8; 32]));
    refused_with(wrong(), Kind::UnknownKey, "key").await;
    wrong().with_lost_keys().connect().await.unwrap();
    builder(&address, &name).connect().await.unwrap();
}
