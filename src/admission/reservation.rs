#[cfg(feature = "metrics")]
use std::sync::atomic::Ordering;
use std::{fmt, sync::Arc};

use super::{
    Admission, SharedTally,
    runs::{Cut, RunNumber},
    share::Share,
};
use crate::{event::Events, sync::lock};

/// The room that one webhook takes, from before the handler runs until its delivery is settled, or
/// safe in a durable outbox. Dropped, it is given back.
pub(crate) struct Reservation {
    share: Share,
    of_host: SharedTally,
    of_caller: Option<SharedTally>,
    /// Set while nobody waits for the call.
    run: Option<RunNumber>,
    /// Its webhook has a complete response.
    #[cfg(feature = "metrics")]
    is_complete: bool,
    admission: Arc<Admission>,
}

impl Reservation {
    pub(super) fn new(
        admission: Arc<Admission>,
        share: Share,
        of_host: SharedTally,
        of_caller: Option<SharedTally>,
    ) -> Self {
        Self {
            share,
            of_host,
            of_caller,
            run: None,
            #[cfg(feature = "metrics")]
            is_complete: false,
            admission,
        }
    }

    /// Who is told what becomes of it.
    pub(crate) fn events(&self) -> &Events {
        &self.admission.events
    }

    /// How many bytes it has room for.
    pub(crate) fn bytes(&self) -> usize {
        self.share.bytes()
    }

    /// Makes room for `len` bytes in all; where there is some, for up to `most`, so that not each piece
    /// of a body asks again. Says whether there is room for `len`.
    pub(crate) fn grow_to(&mut self, len: usize, most: usize) -> bool {
        let needed = Share::units_around(len);
        if needed <= self.share.units {
            return true;
        }
        let ample = self.share.units.saturating_mul(2);
        let ample = ample.clamp(needed, Share::units_around(most).max(needed));
        [ample, needed].into_iter().any(|units| self.take(units))
    }

    fn take(&mut self, units: u32) -> bool {
        let more = Share::units(units - self.share.units);
        let of_caller = self.of_caller.as_ref();
        let has_room = self.admission.try_take_more(more, &self.of_host, of_caller);
        if has_room {
            self.share.units = units;
            self.recount_run();
        }
        has_room
    }

    /// Gives back what `len` bytes do not need.
    pub(crate) fn shrink_to(&mut self, len: usize) {
        let needed = Share::units_around(len).min(self.share.units);
        let surplus = Share::units(self.share.units - needed);
        if surplus != Share::default() {
            self.share.units = needed;
            self.give_back(surplus);
            self.recount_run();
        }
    }

    /// Nobody waits for the call any more. What comes of this says when it has to end.
    pub(crate) fn begin_run(&mut self) -> Cut {
        let (number, cut) = lock(&self.admission.runs).begin(&self.of_host, self.share);
        self.run = Some(number);
        cut
    }

    /// The response is complete.
    #[cfg(feature = "metrics")]
    pub(crate) fn complete(&mut self) {
        if !std::mem::replace(&mut self.is_complete, true) {
            self.admission.complete.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The call has ended.
    pub(crate) fn end_run(&mut self) {
        if let Some(number) = self.run.take() {
            lock(&self.admission.runs).end(number);
        }
    }

    fn recount_run(&self) {
        if let Some(number) = self.run {
            lock(&self.admission.runs).recount(number, self.share);
        }
    }

    fn give_back(&self, share: Share) {
        if let Some(of_caller) = &self.of_caller {
            of_caller.0.give_back(share);
        }
        self.of_host.0.give_back(share);
        // Last, so that whoever hears that none is left finds everything given back.
        self.admission.give_back(share);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.end_run();
        #[cfg(feature = "metrics")]
        if self.is_complete {
            self.admission.complete.fetch_sub(1, Ordering::Relaxed);
        }
        self.give_back(self.share);
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").finish_non_exhaustive()
    }
}
