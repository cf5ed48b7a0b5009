//! Settings of what is kept of what is over.

use std::time::Duration;

use crate::PostgresOutboxBuilder;

impl PostgresOutboxBuilder {
    /// How long dead letters are kept. Default: 30 days.
    pub fn with_dead_letters_kept(mut self, time: Duration) -> Self {
        self.dead_letters.time = time;
        self
    }

    /// How many dead letters are kept, give or take those of some seconds; the oldest go first. Default:
    /// 1,000,000.
    pub fn with_max_dead_letters(mut self, number: usize) -> Self {
        self.dead_letters.number = number;
        self
    }

    /// The bytes of all dead letters' payloads; the oldest go first. Default: 1 GiB.
    pub fn with_max_dead_letter_bytes(mut self, bytes: u64) -> Self {
        self.dead_letters.bytes = bytes;
        self
    }

    /// How many records the history has, give or take those of some seconds: what the endpoints took, and
    /// calls that failed, to be listed and to be looked at by their callers
    /// ([`status`](tower_webhook::status())). The oldest go first. Default: 100,000. With 0 there is none.
    pub fn with_max_history(mut self, number: usize) -> Self {
        self.history.bounds.number = number;
        self
    }

    /// The bytes of the history: of the sealed envelopes, attempts and payloads in it. The oldest records go
    /// first. Default: 128 MiB.
    pub fn with_max_history_bytes(mut self, bytes: u64) -> Self {
        self.history.bounds.bytes = bytes;
        self
    }

    /// How long a record stays in the history, give or take a minute. Default: one day.
    pub fn with_history_kept(mut self, time: Duration) -> Self {
        self.history.bounds.time = time;
        self
    }

    /// Keeps what was delivered with its payload, in the clear as other payloads are: it can be delivered
    /// again, and its caller can fetch it. Default: no payloads.
    ///
    /// Secrets stay for as long as the history, sealed: a caller proves by its own that a call is its own.
    /// Where deliveries are kept [in the clear](Self::with_insecure_plaintext) that is so with this setting
    /// alone; without it no secret stays, and callers cannot look.
    pub fn with_history_payloads(mut self) -> Self {
        self.history.keeps_payloads = true;
        self
    }
}
