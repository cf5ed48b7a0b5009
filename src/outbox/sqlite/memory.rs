/// The memory for payloads, and what those that are being delivered take of it.
///
/// One that does not fit waits until it does, and smaller ones go past it. Those that went past
/// are counted apart: together they never take what it will need, so that it fits at the latest
/// when the others have gone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Memory {
    most: usize,
    taken: usize,
    /// By those that went past another one.
    past: usize,
}

/// What one payload takes.
#[derive(Clone, Copy)]
pub(super) struct Share {
    bytes: usize,
    is_past: bool,
}

impl Memory {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            taken: 0,
            past: 0,
        }
    }

    /// `None` when it does not fit, beside what one that `waits` will need. When nothing is
    /// taken, one fits however large it is.
    pub(super) fn share(&self, bytes: usize, waits: Option<usize>) -> Option<Share> {
        let free = self.most.saturating_sub(self.taken);
        let fits = bytes <= free || self.taken == 0;
        let goes_past = |need: usize| {
            let left = self.most.saturating_sub(need);
            bytes <= left.saturating_sub(self.past)
        };
        (fits && waits.is_none_or(goes_past)).then_some(Share {
            bytes,
            is_past: waits.is_some(),
        })
    }

    pub(super) fn take(&mut self, share: Share) {
        self.taken += share.bytes;
        self.past += share.past();
    }

    pub(super) fn give_back(&mut self, share: Share) {
        self.taken -= share.bytes;
        self.past -= share.past();
    }
}

impl Share {
    fn past(self) -> usize {
        if self.is_past { self.bytes } else { 0 }
    }
}
