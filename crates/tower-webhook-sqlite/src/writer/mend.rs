//! What becomes of what fails because of single rows: damaged pages, values that nobody of us has
//! written. It must neither be tried for ever, nor keep others from being carried out; and it is done
//! apart from them, as SQLite commits nothing of a transaction that has met a damaged page.

use tower_webhook::outbox::{SettleOutcome, Settlement};

use super::{Writer, apply::Done, commit::Answer};
use crate::{command::Command, error::is_of_a_row};

impl Writer<'_> {
    /// A group of which nothing was committed: those that have not failed go on with the next one.
    pub(super) fn begin_anew(
        &mut self,
        mut answers: Vec<Answer>,
        error: rusqlite::Error,
    ) -> rusqlite::Result<Vec<Answer>> {
        let has_failed = answers.iter().any(Result::is_err);
        if !has_failed && !self.hold_back() {
            return Err(error);
        }
        for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
            *answer = Ok(Done::Unfinished);
        }
        Ok(answers)
    }

    /// A step of something that touches many rows: says whether there is more. Where a row fails it is
    /// held back, and the step is to be taken again.
    pub(super) fn step(
        &mut self,
        work: impl FnOnce(&mut Self) -> rusqlite::Result<bool>,
    ) -> rusqlite::Result<bool> {
        match self.apart(work) {
            Err(error) if is_of_a_row(&error) && self.hold_back() => Ok(true),
            done => done,
        }
    }

    /// In a transaction of its own, after which others have their turn.
    fn apart<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let done = self.within_transaction(work);
        self.turns.give_way();
        done
    }

    /// A command that has failed.
    pub(super) fn mend(&mut self, command: Command, error: rusqlite::Error, may_try_again: bool) {
        if !is_of_a_row(&error) {
            return command.fail(error.into());
        }
        // Whoever does not wait any more needs no answer.
        match command {
            Command::Settle(batch, reply) => {
                let settled = self.settle_in_parts(&batch);
                let _ = reply.send(settled.map_err(Into::into));
            }
            Command::Renew(_, reply) => {
                let now = self.clock.now_ms();
                let beat = self.apart(|writer| writer.owner.beat(now));
                // What cannot be read is left to whoever has it.
                let _ = reply.send(beat.map(|()| Vec::new()).map_err(Into::into));
            }
            command if may_try_again => self.unfinished.push_back(command),
            command => command.fail(error.into()),
        }
    }

    /// Halves what fails, until it is known which ones do.
    fn settle_in_parts(&mut self, batch: &[Settlement]) -> rusqlite::Result<Vec<SettleOutcome>> {
        let now = self.clock.now_ms();
        let settled = self.apart(|writer| writer.settle.run_all(batch, &mut writer.history, now));
        match settled {
            Err(error) if is_of_a_row(&error) => match batch {
                [one] => Ok(vec![self.bury(one, &error)?]),
                _ => {
                    let (some, others) = batch.split_at(batch.len() / 2);
                    let mut settled = self.settle_in_parts(some)?;
                    settled.extend(self.settle_in_parts(others)?);
                    Ok(settled)
                }
            },
            settled => settled,
        }
    }

    fn bury(
        &mut self,
        settlement: &Settlement,
        error: &rusqlite::Error,
    ) -> rusqlite::Result<SettleOutcome> {
        let lease = settlement.lease;
        let id = lease.delivery;
        tracing::error!(%id, %error, "how an attempt ended cannot be noted: it is not sent again");
        let now = self.clock.now_ms();
        match self.apart(|writer| writer.settle.bury(lease, now)) {
            Err(error) if !is_of_a_row(&error) => Err(error),
            // Where it is not even dead, it stays leased to this process.
            _ => Ok(SettleOutcome::Done),
        }
    }

    /// Whether it makes sense to try again: rows that were met since the last call are held back, or
    /// are no longer there.
    pub(super) fn hold_back(&mut self) -> bool {
        let unreadable = self.lease.damaged.take_new();
        let dead = self.dead.take_damaged();
        let others = [
            &mut self.owner.damaged,
            &mut self.settle.damaged,
            &mut self.upkeep.damaged,
        ];
        let others = others.map(|rows| !rows.take_new().is_empty());
        let history = self.history.take_damaged();
        let is_something =
            history || !unreadable.is_empty() || dead.is_some() || others.contains(&true);
        for seq in unreadable {
            self.bury_unreadable(seq);
        }
        for seq in dead.unwrap_or_default() {
            self.remove_dead_letter(seq);
        }
        is_something
    }

    fn bury_unreadable(&mut self, seq: i64) {
        let now = self.clock.now_ms();
        if let Err(error) = self.apart(|writer| writer.lease.bury(seq, now)) {
            tracing::error!(seq, %error, "a row of the SQLite outbox cannot be buried");
        }
    }

    fn remove_dead_letter(&mut self, seq: i64) {
        // Its attempts may be what is damaged: then these stay.
        if self.apart(|writer| writer.dead.remove(seq)).is_ok()
            && let Err(error) = self.apart(|writer| writer.dead.forget_attempts(seq))
        {
            tracing::error!(seq, %error, "the attempts of a dead letter cannot be removed");
        }
    }
}
