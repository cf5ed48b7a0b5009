//! An outbox for [`tower-webhook`](tower_webhook): deliveries wait in a NATS JetStream stream, and any
//! number of processes deliver them.
//!
//! The end of a response is held back until the stream has acknowledged its delivery, so a caller who has
//! seen all of its response can rely on the webhook as far as the [promise](#what-is-promised) goes.
//!
//! ```no_run
//! use tower_webhook::{Dispatcher, WebhookLayer, outbox::SealingKey};
//! use tower_webhook_nats::JetStreamOutbox;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = SealingKey::from_file_or_new("webhooks.key")?;
//! let outbox = JetStreamOutbox::connect("nats://10.0.0.1,nats://10.0.0.2", key).await?;
//! let dispatcher = Dispatcher::builder().with_outbox(outbox).build();
//! dispatcher.start(); // what waits is delivered, too
//! let layer = WebhookLayer::new().with_dispatcher(dispatcher);
//! # Ok(())
//! # }
//! ```
//!
//! One server, for trying out, with settings of its own:
//!
//! ```no_run
//! use std::time::Duration;
//! use tower_webhook::{Dispatcher, outbox::SealingKey};
//! use tower_webhook_nats::JetStreamOutbox;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let key = [7; 32];
//! let outbox = JetStreamOutbox::builder("nats://127.0.0.1")
//!     .with_key(SealingKey::from_bytes(key))
//!     .with_name("callbacks")
//!     .with_replicas(1)
//!     .with_max_payload(512 << 10)
//!     .with_lease(Duration::from_secs(20))
//!     .connect()
//!     .await?;
//! let dispatcher = Dispatcher::builder()
//!     .with_outbox(outbox)
//!     .with_body_limit(512 << 10)
//!     .build();
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! | replicas | a delivery is taken when | it survives | it can still be lost by |
//! | --- | --- | --- | --- |
//! | 3 | two of three servers have acknowledged it | one server with its disk; a kill and restart of all | silent corruption, an operator who removes peers |
//! | 1 | the server has acknowledged it | a kill and restart of the server | the server's disk |
//!
//! Both rows hold for servers with `sync_interval: always`. A client cannot see that setting: without it a
//! server acknowledges what it has not written yet, and a loss of power takes the last minutes. Faults that
//! lose acknowledged messages have been reported for some versions of the server, so it is **not promised
//! that nothing is ever lost**.
//!
//! A delivery is delivered at least once. After a crash or a failover, what was under way is delivered
//! again, and so is what was settled in the last moment before a server was killed. The message id is the
//! delivery id, by which the server drops what is published twice within two minutes; receivers tell
//! duplicates by the same id.
//!
//! Without a connection every call fails at once: nothing is kept by the client to be sent once there is one again.
//!
//! When a leader dies, the stream acknowledges nothing for about five seconds. An insert fails after the
//! [timeout](JetStreamOutboxBuilder::with_timeout), the dispatcher tries again until its accept timeout, and
//! then completes the response and attempts the delivery from memory, unless
//! [durability is required](tower_webhook::dispatch::DispatcherBuilder::with_required_durability).
//!
//! # What it cannot do
//!
//! A stream has no index: deliveries cannot be listed, cancelled or delivered again through the dispatcher,
//! and [`limits`](tower_webhook::outbox::Outbox::limits) says so. [Runs](tower_webhook::outbox::Outbox::begin)
//! are not kept: nobody is told of an asynchronous call that was cut off with its process. A run would be a
//! message whose delay is renewed for as long as its call runs, and that is taken back by its end: one more
//! write and one more read for each asynchronous call, and a duplicate where a renewal is late.
//!
//! # The streams
//!
//! | stream | subject | what is in it |
//! | --- | --- | --- |
//! | `webhooks` | `webhooks.due` | each delivery until it is settled: a work queue in files |
//! | `webhooks-attempts` | `webhooks.attempt.ID` | the number of the next attempt and its delay, for deliveries that have had one |
//! | `webhooks-dead` | `webhooks.dead` | dead letters |
//!
//! They begin with the outbox's [name](JetStreamOutboxBuilder::with_name). All processes share the pull
//! consumer `deliver`: explicit acknowledgements, `ack_wait` is the lease, and neither `max_deliver` nor
//! `max_ack_pending` has a limit. Deliveries that wait for their next attempt count in `max_ack_pending`; a
//! limit would let failing ones keep all others out. What is attempted at the same time is bounded by the
//! dispatcher.
//!
//! [`connect`](JetStreamOutboxBuilder::connect) creates what is missing, and refuses what does not fit, by
//! name. It changes nothing. It does not see what is changed later; a stream or consumer that is deleted is created
//! anew.
//!
//! # The messages
//!
//! The payload is raw, and all else is in headers. Secret, endpoint and the response's headers are in
//! `Webhook-Envelope`, sealed and bound to the payload; the payload, and what the other headers say, is in
//! the clear. Who can publish to the subject can put in nothing that is sent: what cannot be opened with the
//! key becomes a dead letter. Who can read and publish can have a delivery delivered once more, and the
//! receiver knows it by its id.
//!
//! A dead letter has the same headers and payload, and `Webhook-Attempts`, `Webhook-Outcome-Status` or
//! `Webhook-Outcome-Error`. Published to `webhooks.due` once more, without `Nats-Msg-Id`, it is delivered
//! again.
//!
//! # Leases, attempts and hosts
//!
//! A message is leased to the process that has pulled it. What is inserted to be attempted at once is pulled
//! back at once. JetStream does not tell one holder of a message from the next: so each process remembers when
//! it has renewed its leases, and takes one for lost a tenth of the lease before the server hands the message
//! to others. Acknowledgements are confirmed by the server.
//!
//! The server's count of deliveries includes crashes and what was handed back, so the number of an attempt is
//! kept in a stream of its own: written first, then the message is handed back with its delay. The other way,
//! to publish the delivery anew with the next number, writes the payload for each attempt, and has
//! the delivery in the stream twice for a moment.
//!
//! What is due is so by the server's clock, at which each process looks once a minute: clocks of processes may
//! differ.
//!
//! A stream cannot skip a host. Of what comes for a host without a permit, this process keeps some, so that it
//! need not come from the stream again once there is a permit: 128 of a host and 1,024 in all, with 64 MiB of
//! payloads, which count in no [bound](tower_webhook::dispatch::DispatcherBuilder::with_payload_memory) of the
//! dispatcher. They are leased to nobody else meanwhile; what nobody asks for within a third of the lease goes
//! back. The rest is handed back, and comes again one after the other after 100 ms or more: 1,000 a second in
//! all, fewer where payloads are larger than 16 KiB, of which hosts have equal shares. So a host whose backlog
//! has been looked at gets up to 1,000 of it a second from each process, besides what is new. Those of a host
//! that takes many at once wait for no other host's. A call looks at some 1,000 messages for one that may be
//! attempted. A host that takes 500 a second would soon have what is handed back: it is passed once a second.
//! Nothing else is pulled ahead of what was asked for.
//!
//! # Threads
//!
//! A thread of the outbox's own has a runtime that carries the connection. Calls may come from any number of
//! runtimes, each of which may end. A connection that is silent for about ten seconds is opened anew; so it
//! is where deliveries wait and none come, as has been seen after a server left its cluster.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod attempts;
mod builder;
mod clock;
mod connect;
mod dead;
mod engine;
mod error;
mod fetch;
mod insert;
mod keys;
mod leases;
mod message;
mod names;
mod outbox;
mod parked;
mod pull;
mod ready;
mod send;
mod settle;
mod streams;
mod takers;
mod thread;
mod watch;

pub use self::{
    builder::JetStreamOutboxBuilder,
    error::{JetStreamOutboxError, JetStreamOutboxErrorKind},
    outbox::JetStreamOutbox,
};
