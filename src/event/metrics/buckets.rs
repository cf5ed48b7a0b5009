/// Each histogram by its name, with the bounds of its buckets in seconds. The exporter has the buckets, so it
/// has to be told.
///
/// - Attempts: up to a minute, as none should take longer than
///   [its time](crate::dispatch::DispatcherBuilder::with_attempt_timeout), 15 seconds by default.
/// - Deliveries: up to three days, as retries after
///   [Standard Webhooks](crate::RetryPolicy::standard_webhooks) take about as long.
/// - Calls of an outbox: from a commit on a fast disk to the time after which a response waits no longer, and
///   beyond.
pub const BUCKETS: &[(&str, &[f64])] = &[
    ("webhook.attempt.duration", ATTEMPT),
    ("webhook.delivery.duration", DELIVERY),
    ("webhook.outbox.duration", OUTBOX),
];

const ATTEMPT: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0,
];

const DELIVERY: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0,
    3_600.0, 10_800.0, 21_600.0, 43_200.0, 86_400.0, 172_800.0, 259_200.0,
];

const OUTBOX: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0,
];
