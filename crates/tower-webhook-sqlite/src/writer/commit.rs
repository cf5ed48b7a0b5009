//! How a group of commands is carried out: all of it in one transaction.

use tower_webhook::outbox::{DueDeliveries, Want};

use super::{Answer, Done, Writer};
use crate::{
    SqliteOutboxError, SqliteOutboxErrorKind, command::Command, room::is_full, sweep::Sweep,
};

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
        let evicted = self.within_transaction(|writer| writer.dead.evict_some());
        match evicted {
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
        let done = self.within_transaction(|writer| {
            let now = writer.clock.now_ms();
            let done = group.iter().map(|command| writer.apply_alone(command, now));
            let done = done.collect::<rusqlite::Result<Vec<_>>>()?;
            let more_dead = writer.settle.take_more_dead();
            writer.dead.changed_by(more_dead);
            if more_dead.0 > 0 && writer.dead.is_over() {
                writer.is_untidy |= !writer.dead.keep_to_bounds(now)?;
            }
            Ok(done)
        });
        match &done {
            Ok(_) => self.owner.beat_is_kept(),
            Err(_) => drop(self.settle.take_more_dead()),
        }
        done
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
                self.end.execute([])?;
                Ok(done)
            });
        if done.is_err() {
            self.roll_back();
        } else if let Err(error) = self.room.look_after() {
            tracing::warn!(%error, "the log of the SQLite outbox could not be written into the file");
        }
        done
    }

    /// A command that fails takes no other one with it, unless nothing works any more.
    fn apply_alone(&mut self, command: &Command, now: i64) -> rusqlite::Result<Answer> {
        self.savepoint[0].execute([])?;
        let done = match self.makes_room_for(command) {
            Ok(true) => self.apply(command, now),
            Ok(false) => {
                self.savepoint[1].execute([])?;
                return Ok(Err(SqliteOutboxErrorKind::Full.into()));
            }
            Err(error) => Err(error),
        };
        if let Err(error) = &done {
            if self.conn.is_autocommit() || is_full(error) {
                // SQLite has rolled all of it back by itself, or there is room for nothing.
                return done.map(Ok);
            }
            self.savepoint[2].execute([])?;
        }
        self.savepoint[1].execute([])?;
        Ok(done.map_err(SqliteOutboxError::from))
    }

    /// Dead letters make room for a delivery before it is refused.
    fn makes_room_for(&mut self, command: &Command) -> rusqlite::Result<bool> {
        let Command::Insert(batch, reply) = command else {
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
            if !self.dead.evict_some()? {
                return Ok(false);
            }
        }
        self.room.is_there_for(batch)
    }

    fn apply(&mut self, command: &Command, now: i64) -> rusqlite::Result<Done> {
        if command.is_abandoned() {
            return Ok(Done::Nothing);
        }
        Ok(match command {
            Command::Insert(batch, _) => {
                if batch.iter().any(|new| new.lease) {
                    self.owner.beat_if_due(now)?;
                }
                let Self { insert, owner, .. } = self;
                let leases = batch.iter().map(|new| insert.run(new, owner, now));
                Done::Inserted(leases.collect::<rusqlite::Result<_>>()?)
            }
            Command::Fetch(want, _) => self.fetch(want, now)?,
            Command::Settle(batch, _) => {
                let settled = batch
                    .iter()
                    .map(|settlement| self.settle.run(settlement, now));
                Done::Settled(settled.collect::<rusqlite::Result<_>>()?)
            }
            Command::Renew(leases, _) => {
                self.owner.beat(now)?;
                let mut lost = Vec::new();
                for &lease in leases {
                    if !self.settle.holds(lease)? {
                        lost.push(lease);
                    }
                }
                Done::Lost(lost)
            }
            Command::Redeliver(Sweep {
                filter, progress, ..
            }) => Done::Swept(self.settle.revive(filter, *progress, now)?),
            Command::Cancel(Sweep {
                filter, progress, ..
            }) => Done::Swept(self.settle.cancel(filter, *progress)?),
            Command::Close(_) => {
                self.owner.leave()?;
                Done::Closed
            }
        })
    }

    fn fetch(&mut self, want: &Want, now: i64) -> rusqlite::Result<Done> {
        let choice = self.fetch.choose(want, now)?;
        if choice.is_unfinished {
            return Ok(Done::Unfinished);
        }
        let mut found = DueDeliveries::default();
        found.more = choice.has_left_some;
        if choice.rows.is_empty() {
            found.next_due = self.fetch.until_next_due(now)?;
        } else {
            // Before anything is leased in its name.
            self.owner.beat_if_due(now)?;
        }
        for seq in choice.rows {
            found
                .deliveries
                .extend(self.lease.run(seq, &mut self.owner, now)?);
        }
        Ok(Done::Fetched(found))
    }

    fn roll_back(&mut self) {
        self.owner.beat_is_lost();
        if !self.conn.is_autocommit()
            && let Err(error) = self.rollback.execute([])
        {
            tracing::error!(%error, "the SQLite outbox cannot roll back");
        }
    }
}
