/// What an outbox is asked to do, as far as it is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutboxCall {
    Insert,
    Begin,
    Fetch,
    Settle,
    Renew,
    /// An insert into the outbox that deliveries go on to.
    Forward,
}

#[cfg(feature = "metrics")]
impl OutboxCall {
    pub(crate) const ALL: &[Self] = &[
        Self::Insert,
        Self::Begin,
        Self::Fetch,
        Self::Settle,
        Self::Renew,
        Self::Forward,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Begin => "begin",
            Self::Fetch => "fetch",
            Self::Settle => "settle",
            Self::Renew => "renew",
            Self::Forward => "forward",
        }
    }
}
