use std::time::Duration;

/// Four for each doubling, up to more than an hour: a value is off by an eighth at most.
const BUCKETS: usize = 128;
const PER_DOUBLING: usize = 4;

/// How long attempts took, in microseconds. Of a fixed size.
#[derive(Clone, Copy)]
pub(super) struct Histogram([u32; BUCKETS]);

impl Histogram {
    pub(super) const fn new() -> Self {
        Self([0; BUCKETS])
    }

    pub(super) fn add(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.0.get_mut(bucket_of(micros).min(BUCKETS - 1)) {
            *bucket = bucket.saturating_add(1);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (ours, theirs) in self.0.iter_mut().zip(other.0) {
            *ours = ours.saturating_add(theirs);
        }
    }

    /// The time that so many of a hundred stay below, roughly; `None` where there was nothing.
    pub(super) fn percentile(&self, percent: u64) -> Option<Duration> {
        let number: u64 = self.0.iter().copied().map(u64::from).sum();
        let rank = (number * percent).div_ceil(100).max(1);
        let mut below = 0;
        let bucket = self.0.iter().position(|&number| {
            below += u64::from(number);
            below >= rank
        })?;
        Some(Duration::from_micros(middle_of(bucket)))
    }
}

/// The doubling, and the two bits after its first.
fn bucket_of(micros: u64) -> usize {
    let micros = micros.max(4);
    let doubling = micros.ilog2();
    let quarter = (micros >> (doubling - 2)) & 3;
    (doubling as usize - 2) * PER_DOUBLING + quarter as usize
}

fn middle_of(bucket: usize) -> u64 {
    let doubling = bucket / PER_DOUBLING;
    let quarter = (bucket % PER_DOUBLING) as u64;
    let low = (4 + quarter) << doubling;
    low + (1 << doubling) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_off_by_an_eighth_at_most() {
        for micros in (0..200_000).chain([1 << 30, 3_600_000_000]) {
            let middle = middle_of(bucket_of(micros));
            assert!(
                middle.abs_diff(micros.max(4)) * 8 <= micros.max(8),
                "{micros}: {middle}"
            );
        }
    }

    #[test]
    fn percentiles_are_of_all_that_was_added() {
        let mut all = Histogram::new();
        assert_eq!(all.percentile(50), None);
        for millis in 1..=100 {
            let mut one = Histogram::new();
            one.add(Duration::from_millis(millis));
            all.merge(&one);
        }
        for percent in [50, 95] {
            let found = all.percentile(percent).unwrap().as_secs_f64() * 1_000.0;
            let exact = percent as f64;
            assert!((found - exact).abs() <= exact / 8.0, "p{percent}: {found}");
        }
    }

    #[test]
    fn the_longest_time_has_a_place() {
        let mut histogram = Histogram::new();
        histogram.add(Duration::MAX);
        assert!(histogram.percentile(50).unwrap() > Duration::from_secs(3_600));
    }
}
