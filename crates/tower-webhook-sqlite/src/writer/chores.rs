//! What nobody asks for.

use std::time::Instant;

use super::{TICK, Writer};
use crate::error::is_of_a_row;

impl Writer<'_> {
    /// Looks after what nobody asks for, a little at a time.
    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        let is_on_time = now >= self.next_tick;
        if is_on_time {
            self.next_tick = now + TICK;
            self.intact.report();
        }
        self.is_untidy = match self.tidy_up(is_on_time) {
            Ok(is_untidy) => is_untidy,
            Err(error) => {
                tracing::warn!(%error, "the SQLite outbox could not be tidied up");
                false
            }
        };
        // A full disk may have no room for another log.
        if is_on_time
            && !self.room.disk_is_full()
            && let Err(error) = self.log.tidy()
        {
            tracing::warn!(%error, "the log of the SQLite outbox could not be emptied");
        }
    }

    /// Says whether there is more to do.
    fn tidy_up(&mut self, is_on_time: bool) -> rusqlite::Result<bool> {
        if is_on_time {
            self.room.look_after()?;
            let removed = self.dead.take_removed();
            if removed > 0 {
                tracing::info!(removed, "old dead letters removed");
            }
        }
        // None of these keeps another one from being done.
        let steps = [
            self.evict(),
            self.trim_history(),
            self.look_after_all(),
            self.take_over(),
            self.free_strays(),
        ];
        let mut has_more = false;
        for step in steps {
            has_more |= step?;
        }
        Ok(has_more)
    }

    fn evict(&mut self) -> rusqlite::Result<bool> {
        if !self.dead.is_over() {
            return Ok(false);
        }
        let now = self.clock.now_ms();
        self.step(|writer| Ok(!writer.dead.keep_to_bounds(now)?))
    }

    fn trim_history(&mut self) -> rusqlite::Result<bool> {
        if !self.history.is_due() {
            return Ok(false);
        }
        let now = self.clock.now_ms();
        self.step(|writer| writer.history.trim(now))
    }

    fn look_after_all(&mut self) -> rusqlite::Result<bool> {
        if !self.upkeep.is_due(&self.clock) {
            return Ok(false);
        }
        let done = self.step(|writer| {
            let may_shrink = !writer.room.disk_is_full();
            writer
                .upkeep
                .run(&mut writer.dead, &writer.clock, may_shrink)?;
            Ok(writer.upkeep.is_due(&writer.clock))
        });
        if done.as_ref().is_err_and(is_of_a_row) {
            self.upkeep.go_on();
        }
        done
    }

    fn take_over(&mut self) -> rusqlite::Result<bool> {
        match self.owner.sees_silence()? {
            true => self.step(|writer| writer.owner.take_over()),
            false => Ok(false),
        }
    }

    fn free_strays(&mut self) -> rusqlite::Result<bool> {
        match self.owner.sees_strays()? {
            true => self.step(|writer| writer.owner.free_strays()),
            false => Ok(false),
        }
    }
}
