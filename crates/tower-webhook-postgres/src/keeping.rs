//! Builder settings for dead letters and history.

use std::time::Duration;

use crate::PostgresOutboxBuilder;

impl PostgresOutboxBuilder {
    /// How long dead letters are kept. Default: 30 days.
    pub fn with_dead_letters_kept(mut self, time: Duration) -> Self {
        self.dead_letters.time = time;
        self
    }

    /// How many dead letters are kept; the oldest are deleted first. Default: 1,000,000. It is enforced every
    /// few seconds.
    pub fn with_max_dead_letters(mut self, number: usize) -> Self {
        self.dead_letters.number = number;
        self
    }

    /// The bytes of all dead letters' payloads; the oldest are deleted first. Default: 1 GiB.
    pub fn with_max_dead_letter_bytes(mut self, bytes: u64) -> Self {
        self.dead_letters.bytes = bytes;
        self
    }

    /// How many records the history has: deliveries that were delivered and calls that failed, for listing
    /// and for their callers ([`status`](tower_webhook::status())). The oldest are deleted first. Default:
    /// 100,000; 0 turns the history off. It is enforced every few seconds.
    pub fn with_max_history(mut self, number: usize) -> Self {
        self.history.bounds.number = number;
        self
    }

    /// The bytes of the history: its sealed envelopes, attempts and payloads. The oldest records are deleted
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

    /// Keeps payloads in the history, so that deliveries can be redelivered and their callers can fetch them.
    /// Payloads are stored in the clear. Default: no payloads.
    ///
    /// Sealed secrets are kept as long as the record, because callers prove ownership of a call with theirs.
    /// [In plaintext](Self::with_insecure_plaintext) secrets are kept only with this setting; without it,
    /// callers cannot look up their calls.
    pub fn with_history_payloads(mut self) -> Self {
        self.history.keeps_payloads = true;
        self
    }
}
