//! How much there may be of everything.

use super::DispatcherBuilder;

impl DispatcherBuilder {
    /// The largest body that is forwarded, in bytes. Default: 4 MiB.
    ///
    /// The response of a request whose body is larger goes to the caller as always; its webhook
    /// ends as [failed](crate::event::FailReason::BodyTooLarge). A cut body is never sent.
    pub fn with_body_limit(mut self, bytes: usize) -> Self {
        self.limits.body = bytes;
        self
    }

    /// The bytes that all payloads under way may take together. Default: 1 GiB.
    ///
    /// Each request that asks for a webhook first takes [256 KiB](Self::with_reserved_body) out of it.
    /// What its response needs beyond that is taken as the body grows, and what it did not need is
    /// given back as soon as that is known. A single endpoint host has at most seven eighths of it, and
    /// so has a single caller: some is left for others however slow a host is. More than 4 TiB counts
    /// as 4 TiB.
    ///
    /// A payload, and the headers that are kept of its response, 8 KiB at most, count. Besides those a
    /// webhook under way takes less than 5 KiB, less than 7 KiB and what its handler holds where its call
    /// runs on with nobody waiting, and an attempt under way less than 128 KiB. Connections
    /// that are kept for later attempts do not come on top of that: with those in use they are at most
    /// as many as attempts may be under way, and each takes less.
    /// [Dead letters in memory](crate::outbox::MemoryOutbox::with_max_dead_letter_bytes) have payloads
    /// and headers of 64 MiB, and take as much besides as webhooks under way. With every default that
    /// is a bound of 1,185 MiB.
    ///
    /// With a durable outbox that is the bound of what it does not have yet, or could not take. What
    /// it has and is being delivered has a bound of [its own](Self::with_payload_memory).
    pub fn with_memory_budget(mut self, bytes: usize) -> Self {
        self.limits.memory = bytes;
        self
    }

    /// What of a body is reserved before the handler runs, in bytes. Default: 256 KiB, as most responses
    /// are smaller, and most handlers run longer than their response takes.
    ///
    /// A larger response takes more as it grows. Where there is no more, the caller gets its response as
    /// always, and the webhook ends as [failed](crate::event::FailReason::NoRoom). With the [body
    /// limit](Self::with_body_limit) no webhook that was accepted ends so; the [memory
    /// budget](Self::with_memory_budget) divided by it is then the number of calls that can be handled
    /// at once.
    pub fn with_reserved_body(mut self, bytes: usize) -> Self {
        self.limits.reserved_body = bytes;
        self
    }

    /// The bytes of all payloads of a durable outbox that are in memory at the same time: being
    /// attempted, or waiting for their turn. Default: 256 MiB, and one payload more. Beyond it a
    /// delivery stays in the outbox until there is room.
    pub fn with_payload_memory(mut self, bytes: usize) -> Self {
        self.payload_memory = bytes;
        self
    }

    /// How many webhooks may be under way, from before the handler runs until the delivery is
    /// settled, or safe in a durable outbox. Default: 4,096: at 256 KiB each that is the default
    /// [memory budget](Self::with_memory_budget). Beyond that a request that asks for one is answered
    /// with 503.
    pub fn with_max_outstanding(mut self, number: usize) -> Self {
        self.limits.outstanding = number;
        self
    }

    /// How many of these one endpoint host may have. Default: 1,024, a quarter of all.
    pub fn with_max_outstanding_per_host(mut self, number: usize) -> Self {
        self.limits.outstanding_per_host = number;
        self
    }

    /// How many of these one caller may have, where the layer [tells callers
    /// apart](crate::layer::WebhookLayer::with_caller_key). Default: 512, an eighth of all: a caller
    /// may name any number of hosts.
    pub fn with_max_outstanding_per_caller(mut self, number: usize) -> Self {
        self.limits.outstanding_per_caller = number;
        self
    }

    /// How many attempts may be under way, at least one. Default: 512. With the crate's own client they
    /// are never more than half of the [sockets](Self::with_max_sockets) that it may open. At most as
    /// many connections are open, those that are kept for later attempts included; only while one is
    /// being opened may a second address be tried beside it.
    ///
    /// Hosts that are not known to answer share at most half of them: however many hosts stall,
    /// those that answer are attempted.
    ///
    /// However many hosts lead to one IP address (of IPv6, to one /64), three quarters of the
    /// attempts at most wait for a first answer from it. Where it has not answered for a minute that
    /// is a quarter, and for one port of it as many as [one
    /// host](Self::with_max_attempts_per_host) may have. An attempt for which there is no room is put
    /// off, for up to the time of an attempt, and then
    /// [fails](crate::event::AttemptError::Crowded).
    pub fn with_max_attempts(mut self, number: usize) -> Self {
        self.attempts.attempts = number.max(1);
        self
    }

    /// How many attempts one endpoint host may have under way, at least one. Default: 64.
    ///
    /// A host that has not answered yet, or has failed to answer its last attempt, has at most 4.
    /// One answer gives it its whole limit. After 8 failures in a row a host pauses between its
    /// attempts, for longer each time, up to one second.
    pub fn with_max_attempts_per_host(mut self, number: usize) -> Self {
        self.attempts.per_host = number.max(1);
        self
    }
}
