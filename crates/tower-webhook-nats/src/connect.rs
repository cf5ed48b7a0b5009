//! Opening the connection, and what the server has to be.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use async_nats::{
    Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr,
    jetstream::context::{AccountErrorKind, ContextBuilder},
};
use tokio::time::timeout;
use tower_webhook::outbox::Sealing;

use crate::{
    JetStreamOutboxError, JetStreamOutboxErrorKind as Kind,
    engine::{Engine, Settings},
    streams,
};

/// What proves who connects.
#[derive(Clone)]
pub(crate) enum Login {
    Nobody,
    CredentialsFile(PathBuf),
    User { name: String, password: String },
    Token(String),
}

pub(crate) struct ConnectSettings {
    pub(crate) addresses: String,
    pub(crate) login: Login,
    pub(crate) root_certificates: Option<PathBuf>,
    pub(crate) requires_tls: bool,
    /// What the deliveries that wait have to be sealed with; `None` where that may be lost.
    pub(crate) keys: Option<Sealing>,
    pub(crate) engine: Settings,
}

/// A connection that is silent for about twice this time is opened anew.
const PING: Duration = Duration::from_secs(5);
/// The longest pause between two tries to connect.
const RECONNECT: Duration = Duration::from_secs(1);
/// The most messages that wait to be sent. What the server is not known to have when the connection is lost
/// is sent with the next one, where it lies here.
const UNSENT: usize = 32;
/// The most publications that wait for their acknowledgement.
const UNACKNOWLEDGED: usize = 16 << 10;

/// The longest that one of them takes room. Whoever waits for it has a limit of its own, for all of a batch.
const UNACKNOWLEDGED_FOR: Duration = Duration::from_secs(30);

/// Connects, and looks at the server and the streams.
pub(crate) async fn connect(settings: ConnectSettings) -> Result<Engine, JetStreamOutboxError> {
    let client = open(&settings).await?;
    check_server(&client, &settings.engine)?;
    let context = ContextBuilder::new()
        .timeout(UNACKNOWLEDGED_FOR)
        .ack_timeout(UNACKNOWLEDGED_FOR)
        .max_ack_inflight(UNACKNOWLEDGED)
        .backpressure_on_inflight(true)
        .build(client.clone());
    if let Err(error) = context.query_account().await {
        let kind = match error.kind() {
            AccountErrorKind::TimedOut => Kind::TimedOut,
            AccountErrorKind::JetStreamUnavailable | AccountErrorKind::JetStream(_) => {
                Kind::NoJetStream
            }
            AccountErrorKind::Other => Kind::Other,
        };
        return Err(JetStreamOutboxError::new(kind).with_source(error));
    }
    let consumer = streams::set_up(&context, &settings.engine).await?;
    let engine = Engine::new(client, context, consumer, settings.engine);
    engine.look_at_the_clock().await?;
    if let Some(keys) = settings.keys {
        engine.check(&keys).await?;
    }
    Ok(engine)
}

async fn open(settings: &ConnectSettings) -> Result<Client, JetStreamOutboxError> {
    let addresses = settings.addresses.split(',').map(|one| one.trim().parse());
    let addresses: Result<Vec<ServerAddr>, _> = addresses.collect();
    // The error would name the address.
    let addresses = addresses.map_err(|_| Kind::InvalidAddress)?;
    let limit = settings.engine.timeout;
    let mut options = ConnectOptions::new()
        .name("tower-webhook")
        .connection_timeout(limit)
        .request_timeout(Some(limit))
        .ping_interval(PING)
        .client_capacity(UNSENT)
        .reconnect_delay_callback(|tries| {
            let tries = u32::try_from(tries).unwrap_or(u32::MAX);
            Duration::from_millis(50)
                .saturating_mul(tries)
                .min(RECONNECT)
        })
        .event_callback(async |event| report(&event));
    options = match settings.login.clone() {
        Login::Nobody => options,
        Login::User { name, password } => options.user_and_password(name, password),
        Login::Token(token) => options.token(token),
        Login::CredentialsFile(path) => {
            let read = options.credentials_file(path).await;
            read.map_err(|error| JetStreamOutboxError::new(Kind::Credentials).with_source(error))?
        }
    };
    if let Some(path) = &settings.root_certificates {
        options = options.add_root_certificates(path.clone());
    }
    if settings.requires_tls {
        options = options.require_tls(true);
    }
    let began = Instant::now();
    match timeout(2 * limit, options.connect(addresses)).await {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(error)) => {
            let kind = match error.kind() {
                ConnectErrorKind::ServerParse => Kind::InvalidAddress,
                ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                    Kind::Unauthorized
                }
                ConnectErrorKind::Tls => Kind::Credentials,
                _ => Kind::Unreachable,
            };
            Err(JetStreamOutboxError::new(kind).with_source(error))
        }
        Err(_) => {
            let waited = format!("after {:.1?}", began.elapsed());
            Err(JetStreamOutboxError::new(Kind::Unreachable).with_detail(waited))
        }
    }
}

fn check_server(client: &Client, settings: &Settings) -> Result<(), JetStreamOutboxError> {
    let server = client.server_info();
    if !client.is_server_compatible(2, 12, 3) {
        let error = JetStreamOutboxError::new(Kind::ServerTooOld);
        return Err(error.with_detail(format!("it is {}", server.version)));
    }
    let (max_payload, needed) = (settings.max_payload, settings.max_message());
    if server.max_payload < needed {
        let error = JetStreamOutboxError::new(Kind::PayloadLimit);
        return Err(error.with_detail(format!(
            "it is {} bytes, and payloads of {max_payload} bytes need {needed}; raise it, or lower the \
             largest payload and the body limit",
            server.max_payload
        )));
    }
    Ok(())
}

fn report(event: &Event) {
    match event {
        Event::Connected => tracing::info!("the JetStream outbox is connected"),
        Event::Disconnected => tracing::warn!("the JetStream outbox has lost its connection"),
        Event::LameDuckMode => tracing::info!("the NATS server is about to stop"),
        Event::Draining | Event::Closed => {}
        Event::SlowConsumer(_) | Event::ServerError(_) | Event::ClientError(_) => {
            tracing::warn!(%event, "the connection of the JetStream outbox");
        }
    }
}
