//! The streams and the consumer: what they have to be, and whether they are.

use std::time::Duration;

use async_nats::jetstream::{
    self, Context, ErrorCode,
    consumer::{AckPolicy, PullConsumer, ReplayPolicy, pull},
    context::{CreateStreamErrorKind, GetStreamErrorKind},
    stream::{
        Config, ConsumerErrorKind, DiscardPolicy, PersistenceMode, RetentionPolicy, StorageType,
        Stream,
    },
};

use crate::{
    JetStreamOutboxError, JetStreamOutboxErrorKind as Kind, engine::Settings, insert::HEARD,
    names::CONSUMER,
};

/// An insert that nobody knows of is tried again within seconds.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// The number of a delivery's attempt is forgotten so long after its last one, if not before.
const ATTEMPTS_KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Where somebody else has created their stream: longer than a delivery waits between two attempts.
const ATTEMPTS_NEEDED: Duration = Duration::from_secs(7 * 24 * 3_600);
/// The bytes of such a number, and more.
const NUMBER: usize = 64;

/// Creates what is missing, and looks at what is there. Nothing that is there is changed.
pub(crate) async fn set_up(
    context: &Context,
    settings: &Settings,
) -> Result<PullConsumer, JetStreamOutboxError> {
    for config in [attempts(settings), dead(settings)] {
        stream(context, config, settings.max_message()).await?;
    }
    let stream = stream(context, due(settings), settings.max_message()).await?;
    let wanted = consumer(settings);
    let found: Result<PullConsumer, _> = stream
        .get_or_create_consumer(CONSUMER, wanted.clone())
        .await;
    let found = found.map_err(|error| {
        let (kind, detail) = match error.kind() {
            ConsumerErrorKind::TimedOut | ConsumerErrorKind::Request => (Kind::TimedOut, None),
            ConsumerErrorKind::JetStream(reason) => (Kind::UnfitConsumer, why_no_consumer(&reason)),
            _ => (Kind::UnfitConsumer, None),
        };
        with_detail(JetStreamOutboxError::new(kind), detail).with_source(error)
    })?;
    let info = found.cached_info();
    let is_paused = || "it is paused".to_owned();
    let what = unfit_consumer(&info.config, &wanted).or_else(|| info.paused.then(is_paused));
    match what {
        None => Ok(found),
        Some(what) => {
            let error = JetStreamOutboxError::new(Kind::UnfitConsumer);
            Err(error.with_detail(format!(
                "`{CONSUMER}` of `{}`: {what}",
                settings.name.stream()
            )))
        }
    }
}

fn due(settings: &Settings) -> Config {
    Config {
        name: settings.name.stream(),
        subjects: vec![settings.name.subject()],
        retention: RetentionPolicy::WorkQueue,
        // Where somebody sets a limit, what does not fit is refused, instead of the oldest thrown away.
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        num_replicas: settings.replicas,
        duplicate_window: DUPLICATE_WINDOW,
        ..Config::default()
    }
}

fn attempts(settings: &Settings) -> Config {
    Config {
        name: settings.name.attempts_stream(),
        subjects: vec![settings.name.attempts_subjects()],
        max_messages_per_subject: 1,
        max_age: ATTEMPTS_KEPT,
        storage: StorageType::File,
        num_replicas: settings.replicas,
        ..Config::default()
    }
}

fn dead(settings: &Settings) -> Config {
    Config {
        name: settings.name.dead_stream(),
        subjects: vec![settings.name.dead_subject()],
        max_age: settings.dead_letters_kept,
        max_bytes: i64::try_from(settings.max_dead_letter_bytes).unwrap_or(i64::MAX),
        storage: StorageType::File,
        num_replicas: settings.replicas,
        duplicate_window: DUPLICATE_WINDOW.min(settings.dead_letters_kept),
        ..Config::default()
    }
}

fn consumer(settings: &Settings) -> pull::Config {
    pull::Config {
        durable_name: Some(CONSUMER.to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: settings.lease,
        max_deliver: -1,
        max_ack_pending: -1,
        filter_subject: settings.name.subject(),
        ..pull::Config::default()
    }
}

async fn stream(
    context: &Context,
    wanted: Config,
    max_message: usize,
) -> Result<Stream, JetStreamOutboxError> {
    let found = match context.get_stream(&wanted.name).await {
        Ok(found) => found,
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(reason)
                if reason.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                create(context, wanted.clone()).await?
            }
            GetStreamErrorKind::Request => {
                return Err(JetStreamOutboxError::new(Kind::TimedOut).with_source(error));
            }
            _ => return Err(JetStreamOutboxError::new(Kind::Refused).with_source(error)),
        },
    };
    match unfit_stream(&found.cached_info().config, &wanted, max_message) {
        None => Ok(found),
        Some(what) => {
            let error = JetStreamOutboxError::new(Kind::UnfitStream);
            Err(error.with_detail(format!("`{}`: {what}", wanted.name)))
        }
    }
}

async fn create(context: &Context, wanted: Config) -> Result<Stream, JetStreamOutboxError> {
    let (name, replicas) = (wanted.name.clone(), wanted.num_replicas);
    context.create_stream(wanted).await.map_err(|error| {
        let (kind, detail) = match error.kind() {
            CreateStreamErrorKind::TimedOut => (Kind::TimedOut, None),
            CreateStreamErrorKind::JetStreamUnavailable => (Kind::NoJetStream, None),
            CreateStreamErrorKind::JetStream(reason) => {
                (Kind::UnfitStream, why_no_stream(&reason, &name, replicas))
            }
            _ => (Kind::UnfitStream, None),
        };
        with_detail(JetStreamOutboxError::new(kind), detail).with_source(error)
    })
}

fn why_no_stream(reason: &jetstream::Error, name: &str, replicas: usize) -> Option<String> {
    match reason.error_code() {
        ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED | ErrorCode::CLUSTER_NO_PEERS => {
            Some(format!("there are no {replicas} servers to keep `{name}`"))
        }
        ErrorCode::STREAM_SUBJECT_OVERLAP => {
            Some(format!("another stream has subjects of `{name}`"))
        }
        // The server's own words, which name its limits alone.
        _ => Some(format!("`{name}`: {reason}")),
    }
}

fn why_no_consumer(reason: &jetstream::Error) -> Option<String> {
    match reason.error_code() {
        ErrorCode::CONSUMER_WQ_MULTIPLE_UNFILTERED | ErrorCode::CONSUMER_WQ_CONSUMER_NOT_UNIQUE => {
            Some("the stream has another consumer, which takes its messages".to_owned())
        }
        _ => Some(reason.to_string()),
    }
}

fn with_detail(error: JetStreamOutboxError, detail: Option<String>) -> JetStreamOutboxError {
    match detail {
        Some(detail) => error.with_detail(detail),
        None => error,
    }
}

/// What of a stream is not as it has to be.
fn unfit_stream(found: &Config, wanted: &Config, max_message: usize) -> Option<String> {
    let is_queue = wanted.retention == RetentionPolicy::WorkQueue;
    let keeps_numbers = wanted.max_messages_per_subject == 1;
    let throws_away =
        (found.max_messages > 0 || found.max_bytes > 0) && found.discard != DiscardPolicy::New;
    let replaces = found.max_messages_per_subject > 0
        && !(found.discard == DiscardPolicy::New && found.discard_new_per_subject);
    let needed = if keeps_numbers { NUMBER } else { max_message };
    let largest = match usize::try_from(found.max_message_size) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(bytes) => bytes,
    };
    let what = if found.retention != wanted.retention {
        format!(
            "its retention is {:?}, not {:?}",
            found.retention, wanted.retention
        )
    } else if found.storage != StorageType::File {
        "its storage is not a file".to_owned()
    } else if found.num_replicas != wanted.num_replicas {
        let (found, wanted) = (found.num_replicas, wanted.num_replicas);
        format!("it has {found} replicas, not {wanted}")
    } else if wanted
        .subjects
        .iter()
        .any(|one| !found.subjects.contains(one))
    {
        "its subjects are others".to_owned()
    } else if found.no_ack {
        "it acknowledges nothing".to_owned()
    } else if found.sealed || found.mirror.is_some() {
        "nothing can be written to it".to_owned()
    } else if is_queue && !found.max_age.is_zero() {
        "its `max_age` throws deliveries away".to_owned()
    } else if is_queue && (throws_away || replaces) {
        "it throws the oldest deliveries away where its limits are reached".to_owned()
    } else if is_queue && found.duplicate_window < DUPLICATE_WINDOW {
        format!("its `duplicate_window` is shorter than {DUPLICATE_WINDOW:?}")
    } else if keeps_numbers && throws_away {
        "it throws the numbers of attempts away where its limits are reached".to_owned()
    } else if keeps_numbers && found.max_messages_per_subject != 1 {
        "its `max_msgs_per_subject` is not 1".to_owned()
    } else if keeps_numbers && !replaces {
        "it refuses the number of a next attempt".to_owned()
    } else if keeps_numbers && !found.max_age.is_zero() && found.max_age < ATTEMPTS_NEEDED {
        format!("its `max_age` is shorter than {ATTEMPTS_NEEDED:?}")
    } else if found.subject_transform.is_some() {
        "it changes subjects".to_owned()
    } else if found.persist_mode == Some(PersistenceMode::Async) {
        "it acknowledges what it has not written".to_owned()
    } else if largest < needed {
        format!("its `max_msg_size` is {largest}, and a message may have {needed} bytes")
    } else {
        return None;
    };
    Some(what)
}

/// What of the consumer is not as it has to be.
fn unfit_consumer(found: &jetstream::consumer::Config, wanted: &pull::Config) -> Option<String> {
    let what = if found.deliver_subject.is_some() {
        "it is not a pull consumer".to_owned()
    } else if found.ack_policy != AckPolicy::Explicit {
        "its acknowledgements are not explicit".to_owned()
    } else if found.ack_wait != wanted.ack_wait {
        let (found, wanted) = (found.ack_wait, wanted.ack_wait);
        format!("its `ack_wait` is {found:?}, and the lease {wanted:?}")
    } else if found.max_ack_pending != -1 {
        // Delayed deliveries count in it: with a limit, failing ones keep all others out.
        format!("its `max_ack_pending` is {}, not -1", found.max_ack_pending)
    } else if found.max_deliver > 0 {
        format!("its `max_deliver` is {}, not -1", found.max_deliver)
    } else if !found.backoff.is_empty() {
        "it has a `backoff` of its own".to_owned()
    } else if found.max_batch > 0 || found.max_bytes > 0 {
        "it limits what one pull brings".to_owned()
    } else if !found.max_expires.is_zero() && found.max_expires < HEARD {
        format!("its `max_expires` is shorter than {HEARD:?}")
    } else if !found.priority_groups.is_empty() {
        "it has priority groups".to_owned()
    } else if found.replay_policy != ReplayPolicy::Instant {
        "it delivers as slowly as messages were published".to_owned()
    } else if found.headers_only {
        "it delivers headers only".to_owned()
    } else if found.filter_subject != wanted.filter_subject {
        "its subject is another one".to_owned()
    } else {
        return None;
    };
    Some(what)
}
