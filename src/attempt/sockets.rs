//! How many sockets the client may have open, and what they are for.

/// The most sockets by default. For 512 attempts no more are of use.
const MOST: usize = 1_536;
/// And where more attempts are asked for, as many for each.
const FOR_AN_ATTEMPT: usize = 3;
/// Where the system does not say how many files a process may open: what most allow by default.
const USUAL_OPEN_FILES: usize = 1_024;
const FEWEST: usize = 8;

/// What the sockets are for. The shares are counted apart, so that none of them waits for another:
/// an attempt never waits for a look-up that stalls, or for addresses that are silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketShares {
    /// A half: one for each attempt under way, or kept for a later one.
    pub(crate) attempts: usize,
    /// A quarter: second addresses that are tried beside one that is silent.
    pub(super) second: usize,
    /// A quarter: look-ups.
    pub(super) lookups: usize,
}

impl SocketShares {
    pub(crate) fn of(sockets: usize) -> Self {
        let sockets = sockets.max(FEWEST);
        let quarter = sockets / 4;
        Self {
            attempts: sockets - 2 * quarter,
            second: quarter,
            lookups: quarter,
        }
    }

    /// For no more attempts than are asked for.
    pub(super) fn for_attempts(self, asked_for: usize) -> Self {
        if asked_for > self.attempts {
            tracing::debug!(
                asked_for,
                attempts = self.attempts,
                "fewer attempts may be under way, as there are fewer sockets"
            );
        }
        Self {
            attempts: self.attempts.min(asked_for),
            ..self
        }
    }
}

/// Half of the files that this process may open: the other half is the service's own.
pub(super) fn default_max_sockets(attempts: usize) -> usize {
    let most = attempts.saturating_mul(FOR_AN_ATTEMPT).max(MOST);
    (open_files() / 2).min(most)
}

#[cfg(unix)]
fn open_files() -> usize {
    let limit = rlimit::Resource::NOFILE.get();
    limit.map_or(USUAL_OPEN_FILES, |(soft, _hard)| {
        usize::try_from(soft).unwrap_or(usize::MAX)
    })
}

#[cfg(not(unix))]
fn open_files() -> usize {
    USUAL_OPEN_FILES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_the_whole_and_none_is_nothing() {
        for sockets in 0..5_000 {
            let SocketShares {
                attempts,
                second,
                lookups,
            } = SocketShares::of(sockets);
            assert_eq!(attempts + second + lookups, sockets.max(FEWEST));
            assert!(second > 0 && lookups > 0 && attempts >= second + lookups);
        }
    }

    #[test]
    fn the_defaults_are_enough_for_512_attempts() {
        assert!(SocketShares::of(MOST).attempts >= 512);
        assert!((FEWEST..=MOST).contains(&default_max_sockets(512)));
        assert!(SocketShares::of(FOR_AN_ATTEMPT * 2_000).attempts >= 2_000);
    }
}
