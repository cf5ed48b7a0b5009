/// How many webhooks have come to which end, since the dispatcher was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Requests answered with 400, 503 or 508.
    pub refused: u64,
    /// Requests that there was room for.
    pub accepted: u64,
    /// Deliveries that a sink took, to deliver them by itself.
    pub handed_over: u64,
    /// Deliveries that their endpoint took.
    pub delivered: u64,
    /// Deliveries whose last attempt failed.
    pub dead: u64,
    /// Responses that never became a delivery, and of which the endpoint was told nothing.
    pub failed: u64,
    /// Failure notices. Each is a delivery, and comes to one of the ends above.
    pub noticed: u64,
    /// Webhooks whose process, runtime or dispatcher ended first.
    pub abandoned: u64,
    /// Deliveries that the outbox, or a sink, did not take. A durable outbox that does not is stood in
    /// for by memory: each of these is lost if the process ends before its delivery does.
    pub outbox_failed: u64,
}

impl Counts {
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            refused: self.refused - earlier.refused,
            accepted: self.accepted - earlier.accepted,
            handed_over: self.handed_over - earlier.handed_over,
            delivered: self.delivered - earlier.delivered,
            dead: self.dead - earlier.dead,
            failed: self.failed - earlier.failed,
            noticed: self.noticed - earlier.noticed,
            abandoned: self.abandoned - earlier.abandoned,
            outbox_failed: self.outbox_failed - earlier.outbox_failed,
        }
    }
}
