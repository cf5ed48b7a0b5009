use std::sync::atomic::{AtomicU64, Ordering};

/// Slots, and memory in units of [`UNIT`] bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) slots: u32,
    pub(super) units: u32,
}

/// In bytes.
pub(super) const UNIT: usize = 1024;

/// How much is taken of something: one number, so that it is taken and given back in one step.
#[derive(Default)]
pub(super) struct Tally(AtomicU64);

impl Share {
    /// The units that fit into so many bytes, and no more than can be counted: 4 TiB.
    pub(super) fn units_within(bytes: usize) -> u32 {
        saturated(bytes / UNIT)
    }

    /// The units that hold so many bytes.
    pub(super) fn units_around(bytes: usize) -> u32 {
        saturated(bytes.div_ceil(UNIT))
    }

    pub(super) fn units(units: u32) -> Self {
        Self { slots: 0, units }
    }

    pub(super) fn bytes(self) -> usize {
        (self.units as usize).saturating_mul(UNIT)
    }

    /// The sum of which one part has changed.
    pub(super) fn instead_of(self, before: Self, after: Self) -> Self {
        Self {
            slots: self.slots - before.slots + after.slots,
            units: self.units - before.units + after.units,
        }
    }

    /// Half of it, and one slot at least.
    pub(super) fn half(self) -> Self {
        Self {
            slots: (self.slots / 2).max(1),
            units: self.units / 2,
        }
    }

    fn plus(self, other: Self) -> Option<Self> {
        Some(Self {
            slots: self.slots.checked_add(other.slots)?,
            units: self.units.checked_add(other.units)?,
        })
    }

    pub(super) fn is_within(self, limit: Self) -> bool {
        self.slots <= limit.slots && self.units <= limit.units
    }

    fn packed(self) -> u64 {
        u64::from(self.slots) << 32 | u64::from(self.units)
    }

    fn unpacked(packed: u64) -> Self {
        Self {
            slots: (packed >> 32) as u32,
            units: packed as u32,
        }
    }
}

pub(super) fn saturated(number: usize) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}

impl Tally {
    pub(super) fn get(&self) -> Share {
        Share::unpacked(self.0.load(Ordering::SeqCst))
    }

    /// Takes a share, unless that is more than the limit leaves.
    pub(super) fn try_take(&self, share: Share, limit: Share) -> bool {
        let within = |taken| {
            let sum = Share::unpacked(taken).plus(share)?;
            sum.is_within(limit).then(|| sum.packed())
        };
        let (set, fetch) = (Ordering::SeqCst, Ordering::SeqCst);
        self.0.fetch_update(set, fetch, within).is_ok()
    }

    /// Gives back some of what was taken, and says what is left.
    pub(super) fn give_back(&self, share: Share) -> Share {
        // Neither part is ever less than nothing, so that neither borrows from the other.
        let before = self.0.fetch_sub(share.packed(), Ordering::SeqCst);
        Share::unpacked(before - share.packed())
    }
}
