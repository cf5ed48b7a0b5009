use super::command::{ClaimId, Command, Handle};

/// A claimed row in this process's hands. Dropped, it is due again as the same attempt.
pub(super) struct Hold {
    held: Option<(ClaimId, Handle)>,
}

impl Hold {
    pub(super) fn new(claim: ClaimId, handle: Handle) -> Self {
        Self {
            held: Some((claim, handle)),
        }
    }

    /// Whoever takes it has to settle it.
    pub(super) fn take(mut self) -> (ClaimId, Handle) {
        self.held.take().expect("a hold is taken once, by value")
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some((claim, handle)) = self.held.take() {
            // Without the thread nobody beats for it any more: it comes back after the lease.
            let _ = handle.send(Command::Release(claim));
        }
    }
}
