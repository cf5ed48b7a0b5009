//! What whoever waits for a command is told.

use tower_webhook::outbox::{DueDeliveries, Verdict};

use super::{Writer, apply::Done, commit::Answer};
use crate::{
    SqliteOutboxErrorKind,
    command::{Command, Leases, Reply},
    error::is_of_a_row,
    sweep::{Progress, Sweep},
};

impl Writer<'_> {
    /// Nothing is put into a file in which nobody would find it again.
    pub(super) fn refuse_unless_intact(&mut self, group: Vec<Command>) -> Vec<Command> {
        if !group.iter().any(Command::is_insert) {
            return group;
        }
        let Err(error) = self.intact.check() else {
            return group;
        };
        let (inserts, others): (Vec<_>, _) = group.into_iter().partition(Command::is_insert);
        for insert in inserts {
            insert.fail(error.clone());
        }
        others
    }

    /// Answers without a transaction when nothing is due: an idle outbox writes nothing.
    pub(super) fn look_only(&mut self, group: Vec<Command>) -> Option<Vec<Command>> {
        let now = self.clock.now_ms();
        if !group.iter().all(Command::is_fetch) || self.fetch.is_any_due(now).unwrap_or(true) {
            return Some(group);
        }
        for command in group {
            match self.fetch.until_next_due(now) {
                Ok(next_due) => {
                    let mut nothing = DueDeliveries::default();
                    nothing.next_due = next_due;
                    self.tell(command, Done::Fetched(nothing));
                }
                Err(error) => command.fail(error.into()),
            }
        }
        None
    }

    /// The group is on the disk.
    pub(super) fn answer(&mut self, group: Vec<Command>, answers: Vec<Answer>) {
        let has_met_a_row = |answer: &Answer| answer.as_ref().is_err_and(is_of_a_row);
        let may_try_again = answers.iter().any(has_met_a_row) && self.hold_back();
        for (command, answer) in group.into_iter().zip(answers) {
            match answer {
                Ok(done) => self.tell(command, done),
                Err(error) => self.mend(command, error, may_try_again),
            }
        }
    }

    /// Whoever does not wait any more needs no answer, and has no leases.
    fn tell(&mut self, command: Command, done: Done) {
        let unread = command.verdict_unread();
        match (command, done) {
            (Command::Insert(_, reply) | Command::Begin(_, reply), Done::Inserted(leases)) => {
                self.give(leases, reply, unread);
            }
            (Command::Fetch(_, reply), Done::Fetched(found)) => self.give(found, reply, unread),
            (Command::Settle(_, reply), Done::Settled(settled)) => drop(reply.send(Ok(settled))),
            (Command::Renew(_, reply), Done::Lost(lost)) => drop(reply.send(Ok(lost))),
            (Command::Redeliver(sweep), Done::Swept(progress)) => {
                self.go_on(sweep, progress, Command::Redeliver);
            }
            (Command::Cancel(sweep), Done::Swept(progress)) => {
                self.go_on(sweep, progress, Command::Cancel);
            }
            (Command::Close(reply), Done::Closed) => drop(reply.send(Ok(()))),
            (command, Done::NoRoom) => command.fail(SqliteOutboxErrorKind::Full.into()),
            (command, Done::Unfinished) => self.unfinished.push_back(command),
            _ => {}
        }
    }

    /// Some at a time: what was accepted meanwhile has its turn in between.
    fn go_on(&mut self, mut sweep: Sweep, progress: Progress, command: impl Fn(Sweep) -> Command) {
        sweep.progress = progress;
        match progress.is_over {
            true => drop(sweep.reply.send(Ok(progress.done))),
            false => self.unfinished.push_back(command(sweep)),
        }
    }

    /// Where the call was dropped before it had its answer, its leases end.
    fn give<T: Leases>(&mut self, leased: T, reply: Reply<T>, unread: Verdict) {
        if let Err(Ok(leased)) = reply.send(Ok(leased)) {
            self.unfinished.extend(leased.ended(unread));
        }
    }
}
