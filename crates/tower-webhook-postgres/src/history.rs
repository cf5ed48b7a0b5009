use crate::bounds::Bounds;

/// What is kept of what was delivered, or has failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HistorySettings {
    pub(crate) bounds: Bounds,
    pub(crate) keeps_payloads: bool,
}
