use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Tells the recorder what each metric is, and its unit.
pub(super) fn all() {
    describe_counter!(
        "webhook.accepted",
        Unit::Count,
        "Calls that asked for a webhook and for which there was room"
    );
    describe_counter!(
        "webhook.refused",
        Unit::Count,
        "Calls that asked for a webhook and were answered with 400, 503 or 508, by reason"
    );
    describe_counter!(
        "webhook.noticed",
        Unit::Count,
        "Webhooks whose response never became a delivery and whose endpoint is sent a failure notice, by reason"
    );
    describe_counter!(
        "webhook.dead",
        Unit::Count,
        "Deliveries whose last attempt failed"
    );
    describe_counter!(
        "webhook.outbox.failed",
        Unit::Count,
        "Deliveries that the outbox did not take, and runs that it did not record"
    );
    describe_histogram!(
        "webhook.attempt.duration",
        Unit::Seconds,
        "Attempts that have ended, by status or error"
    );
    describe_histogram!(
        "webhook.delivery.duration",
        Unit::Seconds,
        "Webhooks from when they were accepted to their end, by outcome"
    );
    describe_histogram!(
        "webhook.outbox.duration",
        Unit::Seconds,
        "Calls of a durable outbox, each of a whole batch, by operation and outcome"
    );
    describe_gauge!(
        "webhook.outstanding",
        Unit::Count,
        "What this process has in hand, by state"
    );
    describe_gauge!(
        "webhook.oldest.age",
        Unit::Seconds,
        "For how long the delivery that has been due the longest has waited for its attempt"
    );
    describe_gauge!(
        "webhook.reserved",
        Unit::Bytes,
        "Memory that is reserved for payloads"
    );
    describe_gauge!(
        "webhook.leases",
        Unit::Count,
        "Deliveries and runs of a durable outbox that are leased to this process"
    );
    describe_gauge!(
        "webhook.connections",
        Unit::Count,
        "Connections to receivers, those included that are kept for later"
    );
    describe_gauge!(
        "webhook.lookups",
        Unit::Count,
        "Names that are being looked up"
    );
}
