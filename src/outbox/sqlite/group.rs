use super::{
    command::{ClaimRequest, Command, TakeBack},
    pick::Picked,
    writer::{TICK, Writer},
};

/// What a command came to. It is told once the group is on the disk.
pub(super) enum Done {
    Inserted {
        seq: i64,
    },
    TakenBack,
    Settled {
        holds: bool,
    },
    Released,
    Revived(usize),
    Picked {
        owner: i64,
        picked: Picked,
    },
    /// Nobody waits for it any more.
    Skipped,
}

impl Writer<'_> {
    /// All of the commands, or none.
    pub(super) fn transact(&mut self, group: &[Command]) -> rusqlite::Result<Vec<Done>> {
        let done = self.begin.execute([]).and_then(|_| {
            let now = self.clock.now_ms();
            let done = group.iter().map(|command| self.apply(command, now));
            let done = done.collect::<rusqlite::Result<Vec<_>>>()?;
            self.beat_if_needed(now)?;
            self.commit.execute([])?;
            Ok(done)
        });
        match &done {
            Ok(_) => self.owners.beat_is_kept(),
            Err(_) => self.roll_back(),
        }
        done
    }

    fn apply(&mut self, command: &Command, now: i64) -> rusqlite::Result<Done> {
        Ok(match command {
            // Its caller was told already that it failed.
            Command::Accept(accept) if accept.reply.is_closed() => Done::Skipped,
            Command::Accept(accept) => Done::Inserted {
                seq: self.insert.run(accept, now)?,
            },
            Command::TakeBack(TakeBack { seq, id }) => {
                self.change.forget(*seq, Some(id))?;
                Done::TakenBack
            }
            Command::Settle(settle) => Done::Settled {
                holds: self.change.settle(settle, now)?,
            },
            Command::Release(claim) => {
                self.change.release(*claim)?;
                Done::Released
            }
            Command::Redeliver(wanted) => Done::Revived(self.change.revive(&wanted.filter, now)?),
            Command::Claim(request) if request.reply.is_closed() => Done::Skipped,
            Command::Claim(request) => self.claim(request, now)?,
            #[cfg(test)]
            Command::Do(what) => {
                what();
                Done::Skipped
            }
        })
    }

    fn claim(&mut self, request: &ClaimRequest, now: i64) -> rusqlite::Result<Done> {
        if !self.held.owed.is_empty() {
            return Ok(Done::Picked {
                owner: self.owners.me(),
                picked: Picked::none_for(TICK),
            });
        }
        if self.pick.is_any_due(now)? && self.owners.wants_to_beat() {
            // Before anything is claimed in its name.
            self.beat(now)?;
        }
        let owner = self.owners.me();
        let picked = self.pick.run(request, self.held.memory, owner, now)?;
        Ok(Done::Picked { owner, picked })
    }

    fn beat_if_needed(&mut self, now: i64) -> rusqlite::Result<()> {
        if !self.held.claims.is_empty() && self.owners.wants_to_beat() {
            self.beat(now)?;
        }
        Ok(())
    }

    fn beat(&mut self, now: i64) -> rusqlite::Result<()> {
        if !self.owners.beat(now)? && !self.held.claims.is_empty() {
            tracing::warn!(
                "this process was silent for so long that its deliveries were taken over"
            );
        }
        Ok(())
    }

    pub(super) fn roll_back(&mut self) {
        self.owners.beat_is_lost();
        if !self.conn.is_autocommit()
            && let Err(error) = self.rollback.execute([])
        {
            tracing::error!(%error, "the SQLite outbox cannot roll back");
        }
    }
}
