use std::{
    mem,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use rusqlite::{Connection, Statement};
use tokio::sync::Notify;

use super::{
    SqliteOutboxError, SqliteOutboxErrorKind,
    change::Change,
    clock::Clock,
    command::{Batch, Command},
    error::is_of_one_item,
    held::Held,
    insert::Insert,
    owner::Owners,
    pick::Pick,
    upkeep::Upkeep,
};

/// The only one who writes. While one group of commands is being committed, the next one waits:
/// however slow the disk is, it is asked once for all of them.
pub(super) struct Writer<'c> {
    pub(super) conn: &'c Connection,
    pub(super) begin: Statement<'c>,
    pub(super) commit: Statement<'c>,
    pub(super) rollback: Statement<'c>,
    pub(super) insert: Insert<'c>,
    pub(super) pick: Pick<'c>,
    pub(super) change: Change<'c>,
    pub(super) owners: Owners<'c>,
    pub(super) upkeep: Upkeep<'c>,
    pub(super) clock: Clock,
    pub(super) due: Arc<Notify>,
    pub(super) held: Held,
    pub(super) next_tick: Instant,
}

pub(super) struct WriterSettings {
    pub(super) clock: Clock,
    pub(super) lease: Duration,
    pub(super) keep_dead: Duration,
    pub(super) payload_memory: usize,
}

/// The most commands, and the most bytes of payloads, that are committed at once.
const GROUP: usize = 1_024;
const GROUP_BYTES: usize = 32 << 20;
/// How often it looks after what nobody asks it for.
pub(super) const TICK: Duration = Duration::from_secs(1);

impl<'c> Writer<'c> {
    pub(super) fn new(
        conn: &'c Connection,
        settings: WriterSettings,
        due: Arc<Notify>,
    ) -> rusqlite::Result<Self> {
        let WriterSettings {
            clock,
            lease,
            keep_dead,
            payload_memory,
        } = settings;
        Ok(Self {
            conn,
            begin: conn.prepare("BEGIN IMMEDIATE")?,
            commit: conn.prepare("COMMIT")?,
            rollback: conn.prepare("ROLLBACK")?,
            insert: Insert::new(conn)?,
            pick: Pick::new(conn)?,
            change: Change::new(conn)?,
            owners: Owners::new(conn, lease)?,
            upkeep: Upkeep::new(conn, keep_dead, &clock)?,
            clock,
            due,
            held: Held::new(payload_memory),
            next_tick: Instant::now(),
        })
    }

    /// Until the last handle is gone.
    pub(super) fn serve(&mut self, commands: &Receiver<Command>) {
        loop {
            let wait = self.next_tick.saturating_duration_since(Instant::now());
            match commands.recv_timeout(wait) {
                Ok(first) => {
                    let group = self.gather(first, commands);
                    self.run(group);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if Instant::now() >= self.next_tick {
                self.tick();
                self.next_tick = Instant::now() + TICK;
            }
        }
        self.leave();
    }

    fn gather(&self, first: Command, commands: &Receiver<Command>) -> Vec<Command> {
        let mut bytes = first.bytes();
        let mut group = vec![first];
        while group.len() < GROUP
            && bytes < GROUP_BYTES
            && let Ok(next) = commands.try_recv()
        {
            bytes += next.bytes();
            group.push(next);
        }
        // Last, so that they see what the others make due.
        group.sort_by_key(Command::is_claim);
        group
    }

    fn run(&mut self, group: Vec<Command>) {
        let mut group = match self.look_only(group) {
            Some(group) => group,
            None => return,
        };
        match self.transact(&group) {
            Ok(done) => {
                let mut news = false;
                for (command, done) in group.into_iter().zip(done) {
                    news |= self.tell(command, done);
                }
                let untold = mem::take(&mut self.held.untold);
                if !untold.is_empty() {
                    self.run(untold.into_iter().map(Command::TakeBack).collect());
                }
                if news {
                    self.due.notify_one();
                }
            }
            // One of them may be the reason: each gets a transaction of its own.
            Err(error) if group.len() > 1 && is_of_one_item(&error) => {
                for command in group.drain(..) {
                    self.run(vec![command]);
                }
            }
            Err(error) => {
                let error = SqliteOutboxError::from(error);
                for command in group {
                    self.refuse(command, &error);
                }
            }
        }
    }

    /// Answers claim requests without a transaction when nothing is due: an idle outbox writes
    /// nothing.
    fn look_only(&mut self, mut group: Vec<Command>) -> Option<Vec<Command>> {
        if !group.iter().all(Command::is_claim) {
            return Some(group);
        }
        let now = self.clock.now_ms();
        let next_due = if !self.held.owed.is_empty() {
            Ok(Some(TICK))
        } else if self.pick.is_any_due(now).unwrap_or(true) {
            return Some(group);
        } else {
            self.pick.until_next_due(now)
        };
        for command in group.drain(..) {
            if let Command::Claim(request) = command {
                let batch = next_due.as_ref().map(|next_due| Batch {
                    next_due: *next_due,
                    ..Batch::default()
                });
                let _ = request.reply.send(batch.map_err(|error| {
                    tracing::error!(%error, "the SQLite outbox cannot be read");
                    SqliteOutboxErrorKind::Other.into()
                }));
            }
        }
        None
    }

    fn tick(&mut self) {
        let owed = mem::take(&mut self.held.owed);
        if !owed.is_empty() {
            self.run(owed);
            if self.held.owed.is_empty() {
                self.due.notify_one();
            }
        }
        if !self.held.claims.is_empty() && self.owners.wants_to_beat() {
            // A group of nothing: the beat goes with it.
            if let Err(error) = self.transact(&[]) {
                tracing::warn!(%error, "the SQLite outbox cannot be written");
            }
        }
        let upkeep = self.upkeep.run(&self.clock);
        match upkeep.and_then(|changed| Ok(self.owners.take_over()? || changed)) {
            Ok(true) => self.due.notify_one(),
            Ok(false) => {}
            Err(error) => {
                self.roll_back();
                tracing::warn!(%error, "the SQLite outbox could not be tidied up");
            }
        }
    }

    fn leave(&mut self) {
        let owed = mem::take(&mut self.held.owed);
        if !owed.is_empty() {
            self.run(owed);
        }
        if !self.owners.has_entered() {
            return;
        }
        let left = self.begin.execute([]).and_then(|_| {
            self.owners.leave()?;
            self.commit.execute([])
        });
        if let Err(error) = left {
            self.roll_back();
            tracing::warn!(%error, "the SQLite outbox could not give back its claims");
        }
    }
}
