//! How a group of commands is carried out: all of it in one transaction.

use super::{Writer, apply::Done};
use crate::{command::Command, error::is_of_a_row, room::is_full};

/// What became of a command of a group.
pub(super) type Answer = rusqlite::Result<Done>;

/// For how many groups of dead letters one insert may wait that they make room for.
const EVICTIONS: usize = 8;

impl Writer<'_> {
    /// Where there is no room, room is made; and where that does not help, nothing but what becomes of
    /// deliveries is written.
    pub(super) fn commit(&mut self, group: &[Command]) -> rusqlite::Result<Vec<Answer>> {
        let mut done = self.transact(group);
        for is_last in [false, true] {
            match &done {
                Err(error) if is_full(error) => {}
                _ => break,
            }
            self.make_room(is_last)?;
            self.settle.keeps_records = !is_last;
            done = self.transact(group);
            self.settle.keeps_records = true;
        }
        done
    }

    fn make_room(&mut self, is_last: bool) -> rusqlite::Result<()> {
        match is_last {
            false => self.room.disk_fills_up()?,
            true => self.room.disk_is_full_now()?,
        }
        match self.step(Self::evict_some) {
            Err(error) if !is_full(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// All of the commands that can be carried out, or none.
    fn transact(&mut self, group: &[Command]) -> rusqlite::Result<Vec<Answer>> {
        if group.iter().any(Command::is_insert) && !self.room.has_short_log()? {
            tracing::warn!("somebody reads an old view of the SQLite outbox: its log is too long");
            self.is_log_long = true;
        } else {
            self.is_log_long = false;
        }
        let mut answers = Vec::with_capacity(group.len());
        let committed = self.within_transaction(|writer| {
            let now = writer.clock.now_ms();
            for command in group {
                answers.push(writer.apply_alone(command, now)?);
            }
            if writer.history.is_due() {
                writer.is_untidy |= writer.history.trim(now)?;
            }
            if writer.count_dead() > 0 && writer.dead.is_over() {
                writer.is_untidy |= !writer.dead.keep_to_bounds(now)?;
            }
            Ok(())
        });
        match committed {
            Err(error) if is_of_a_row(&error) && answers.len() == group.len() => {
                self.begin_anew(answers, error)
            }
            committed => committed.map(|()| answers),
        }
    }

    /// Commits what is done, or nothing of it.
    pub(super) fn within_transaction<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let Self { turns, begin, .. } = self;
        let done = turns
            .wait_for(|| begin.execute([]))
            .and_then(|_| work(self))
            .and_then(|done| {
                self.count_dead();
                self.end.execute([])?;
                Ok(done)
            });
        if done.is_err() {
            self.roll_back();
            return done;
        }
        self.owner.is_kept();
        self.dead.are_kept();
        if let Err(error) = self.room.look_after() {
            tracing::warn!(%error, "the log of the SQLite outbox could not be written into the file");
        }
        done
    }

    /// Gives how many more they are.
    fn count_dead(&mut self) -> i64 {
        let more = self.settle.take_more_dead();
        self.dead.changed_by(more);
        more.0
    }

    /// A command that fails takes no other one with it, unless nothing works any more.
    fn apply_alone(&mut self, command: &Command, now: i64) -> rusqlite::Result<Answer> {
        let Self { owner, settle, .. } = self;
        let before = (owner.last_beat, owner.has_left, settle.more_dead);
        self.savepoint[0].execute([])?;
        let done = match self.makes_room_for(command) {
            Ok(true) => self.apply(command, now),
            Ok(false) => Ok(Done::NoRoom),
            Err(error) => Err(error),
        };
        if let Err(error) = &done {
            if self.conn.is_autocommit() || is_full(error) {
                // SQLite has rolled all of it back by itself, or there is room for nothing.
                return done.map(Ok);
            }
            self.savepoint[2].execute([])?;
            let Self { owner, settle, .. } = self;
            (owner.last_beat, owner.has_left, settle.more_dead) = before;
        }
        self.savepoint[1].execute([])?;
        Ok(done)
    }

    /// Dead letters make room for a delivery before it is refused.
    fn makes_room_for(&mut self, command: &Command) -> rusqlite::Result<bool> {
        let (Command::Insert(batch, reply) | Command::Begin(batch, reply)) = command else {
            return Ok(true);
        };
        if reply.is_closed() {
            return Ok(true);
        }
        if self.is_log_long || !self.settle.keeps_records {
            return Ok(false);
        }
        for _ in 0..EVICTIONS {
            if self.room.is_there_for(batch)? {
                return Ok(true);
            }
            if !self.evict_some()? {
                return Ok(false);
            }
        }
        self.room.is_there_for(batch)
    }

    /// Makes room: what is only to be looked at goes first, then dead letters. Says whether there was any.
    fn evict_some(&mut self) -> rusqlite::Result<bool> {
        Ok(self.history.evict_some()? || self.dead.evict_some()?)
    }

    fn roll_back(&mut self) {
        self.owner.is_lost();
        self.dead.are_lost();
        self.settle.take_more_dead();
        if !self.conn.is_autocommit()
            && let Err(error) = self.rollback.execute([])
        {
            tracing::error!(%error, "the SQLite outbox cannot roll back");
        }
    }
}
