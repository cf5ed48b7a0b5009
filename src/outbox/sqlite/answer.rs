use super::{
    SqliteOutboxError, SqliteOutboxErrorKind,
    command::{Accept, Batch, ClaimId, ClaimRequest, Command, Redeliver, Settle, TakeBack},
    group::Done,
    hold::Hold,
    pick::Picked,
    writer::{TICK, Writer},
};
use crate::outbox::{Accepted, Durability, Verdict};

/// Telling whoever waits what a group came to.
impl Writer<'_> {
    /// Says whether there may be something to claim now.
    pub(super) fn tell(&mut self, command: Command, done: Done) -> bool {
        match (command, done) {
            (Command::Accept(accept), Done::Inserted { seq }) => {
                let Accept {
                    delivery, reply, ..
                } = accept;
                let id = delivery.id().clone();
                // On the disk now: it takes no room any more.
                drop(delivery);
                let accepted = Accepted::with(Durability::LocalDisk);
                let told = reply.send(Ok(accepted)).is_ok();
                if !told {
                    self.held.untold.push(TakeBack { seq, id });
                }
                told
            }
            (Command::Settle(settle), Done::Settled { holds }) => {
                let Settle {
                    claim,
                    verdict,
                    reply,
                    ..
                } = settle;
                let answer = match holds {
                    true => Ok(()),
                    false => Err(SqliteOutboxErrorKind::ClaimLost.into()),
                };
                let _ = reply.map(|reply| reply.send(answer));
                let soon = matches!(verdict, Verdict::AgainIn(delay) if delay <= TICK);
                self.held.remove(claim) || soon
            }
            (Command::Release(claim), Done::Released) => {
                self.held.remove(claim);
                true
            }
            (Command::Redeliver(Redeliver { reply, .. }), Done::Revived(number)) => {
                let _ = reply.send(Ok(number));
                number > 0
            }
            (Command::Claim(request), Done::Picked { owner, picked }) => {
                self.hand_out(request, owner, picked);
                false
            }
            _ => false,
        }
    }

    fn hand_out(&mut self, request: ClaimRequest, owner: i64, mut picked: Picked) {
        let chosen = picked.rows.len();
        let untold = &self.held.untold;
        picked
            .rows
            .retain(|(seq, ..)| untold.iter().all(|row| row.seq != *seq));
        // Something may have been left for the sake of these, or of what the group has given back.
        let freed = |memory| memory != self.held.memory;
        let more = picked.more || picked.rows.len() < chosen || picked.starved.is_some_and(freed);
        self.held.starved = picked.starved.is_some();
        let claims = picked.rows.into_iter().map(|(seq, share, row)| {
            let claim = ClaimId { seq, owner };
            self.held.insert(claim, share);
            (Hold::new(claim, request.handle.clone()), row)
        });
        let batch = Batch {
            claims: claims.collect(),
            next_due: picked.next_due,
            more,
        };
        // Not waited for any more: the holds in it give back what they hold.
        let _ = request.reply.send(Ok(batch));
    }

    /// How a delivery ended has to be written down sooner or later, so whoever says it waits until
    /// the file takes it; everybody else hears at once that it does not.
    pub(super) fn refuse(&mut self, command: Command, error: &SqliteOutboxError) {
        match command {
            Command::Settle(settle) if error.kind() == SqliteOutboxErrorKind::Other => {
                self.held.owed.push(Command::Release(settle.claim));
                Command::Settle(settle).fail(error.clone());
            }
            Command::Settle(_) | Command::Release(_) | Command::TakeBack(_) => {
                if self.held.owed.is_empty() {
                    tracing::error!(%error, "the SQLite outbox cannot note how deliveries ended");
                }
                self.held.owed.push(command);
            }
            command => command.fail(error.clone()),
        }
    }
}
