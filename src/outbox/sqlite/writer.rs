use std::{
    collections::HashMap,
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
    command::{Accept, Batch, ClaimId, ClaimRequest, Command, Redeliver, Settle},
    error::is_of_one_item,
    hold::Hold,
    insert::Insert,
    owner::Owners,
    pick::{Memory, Pick, Picked},
    upkeep::Upkeep,
};
use crate::outbox::{Accepted, Durability, Verdict};

/// The only one who writes. While one group of commands is being committed, the next one waits:
/// however slow the disk is, it is asked once for all of them.
pub(super) struct Writer<'c> {
    conn: &'c Connection,
    begin: Statement<'c>,
    commit: Statement<'c>,
    rollback: Statement<'c>,
    insert: Insert<'c>,
    pick: Pick<'c>,
    change: Change<'c>,
    owners: Owners<'c>,
    upkeep: Upkeep<'c>,
    clock: Clock,
    due: Arc<Notify>,
    held: Held,
    next_tick: Instant,
}

/// What this process has claimed.
struct Held {
    /// The length of each payload.
    claims: HashMap<ClaimId, usize>,
    bytes: usize,
    most_bytes: usize,
    /// A claim request had to leave something for want of memory.
    starved: bool,
    /// How deliveries ended that could not be written down yet. It is tried again with each
    /// tick; until then nothing is claimed, so that nothing is sent again and again.
    owed: Vec<Command>,
}

/// What a command came to. It is told once the group is on the disk.
enum Done {
    Inserted(bool),
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

pub(super) struct WriterSettings {
    pub(super) clock: Clock,
    pub(super) lease: Duration,
    pub(super) keep_dead: Duration,
    pub(super) payload_memory: usize,
}

/// The most commands, and the most bytes of payloads, that are committed at once.
const GROUP: usize = 1_024;
const GROUP_BYTES: usize = 32 << 20;
const TICK: Duration = Duration::from_secs(1);

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
            held: Held {
                claims: HashMap::new(),
                bytes: 0,
                most_bytes: payload_memory,
                starved: false,
                owed: Vec::new(),
            },
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

    fn transact(&mut self, group: &[Command]) -> rusqlite::Result<Vec<Done>> {
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
            Command::Accept(accept) => Done::Inserted(self.insert.run(accept, now)?),
            Command::Settle(settle) => Done::Settled {
                holds: self.change.settle(settle, now)?,
            },
            Command::Release(claim) => {
                self.change.release(*claim)?;
                Done::Released
            }
            Command::Redeliver(wanted) => Done::Revived(self.change.revive(&wanted.filter, now)?),
            Command::Claim(request) => self.claim(request, now)?,
            #[cfg(test)]
            Command::Panic => panic!("asked to"),
        })
    }

    fn claim(&mut self, request: &ClaimRequest, now: i64) -> rusqlite::Result<Done> {
        if !self.held.owed.is_empty() {
            return Ok(Done::Picked {
                owner: self.owners.me(),
                picked: Picked::none_for(TICK),
            });
        }
        let memory = Memory {
            bytes: self.held.most_bytes.saturating_sub(self.held.bytes),
            first_may_exceed: self.held.claims.is_empty(),
        };
        if self.pick.is_any_due(now)? && self.owners.wants_to_beat() {
            // Before anything is claimed in its name.
            self.beat(now)?;
        }
        let owner = self.owners.me();
        let picked = self.pick.run(request, memory, owner, now)?;
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

    fn roll_back(&mut self) {
        self.owners.beat_is_lost();
        if !self.conn.is_autocommit()
            && let Err(error) = self.rollback.execute([])
        {
            tracing::error!(%error, "the SQLite outbox cannot roll back");
        }
    }

    /// Says whether there may be something to claim now.
    fn tell(&mut self, command: Command, done: Done) -> bool {
        match (command, done) {
            (Command::Accept(accept), Done::Inserted(inserted)) => {
                let Accept {
                    delivery, reply, ..
                } = accept;
                // On the disk now: it takes no room any more.
                drop(delivery);
                let mut accepted = Accepted::with(Durability::LocalDisk);
                accepted.duplicate = !inserted;
                let _ = reply.send(Ok(accepted));
                inserted
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

    fn hand_out(&mut self, request: ClaimRequest, owner: i64, picked: Picked) {
        self.held.starved = picked.starved;
        let claims = picked.rows.into_iter().map(|(seq, row)| {
            let claim = ClaimId { seq, owner };
            self.held
                .insert(claim, row.payload.as_ref().map_or(0, |bytes| bytes.len()));
            (Hold::new(claim, request.handle.clone()), row)
        });
        let batch = Batch {
            claims: claims.collect(),
            next_due: picked.next_due,
            more: picked.more,
        };
        // Not waited for any more: the holds in it give back what they hold.
        let _ = request.reply.send(Ok(batch));
    }

    /// How a delivery ended has to be written down sooner or later, so whoever says it waits until
    /// the file takes it; everybody else hears at once that it does not.
    fn refuse(&mut self, command: Command, error: &SqliteOutboxError) {
        match command {
            Command::Settle(settle) if error.kind() == SqliteOutboxErrorKind::Other => {
                self.held.owed.push(Command::Release(settle.claim));
                Command::Settle(settle).fail(error.clone());
            }
            Command::Settle(_) | Command::Release(_) => {
                if self.held.owed.is_empty() {
                    tracing::error!(%error, "the SQLite outbox cannot note what attempts came to");
                }
                self.held.owed.push(command);
            }
            command => command.fail(error.clone()),
        }
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

impl Held {
    fn insert(&mut self, claim: ClaimId, bytes: usize) {
        self.bytes += bytes;
        self.claims.insert(claim, bytes);
    }

    /// Says whether something waited for the memory that is free now.
    fn remove(&mut self, claim: ClaimId) -> bool {
        if let Some(bytes) = self.claims.remove(&claim) {
            self.bytes -= bytes;
        }
        mem::take(&mut self.starved)
    }
}
