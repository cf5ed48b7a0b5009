use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, Statement};
use tower_webhook::outbox::{DueDeliveries, Lease, SettleOutcome, Want};

use crate::{
    SqliteOutboxError, SqliteOutboxErrorKind,
    clock::Clock,
    command::{Command, Commands, Sweep},
    fetch::Fetch,
    insert::Insert,
    lease::LeaseRows,
    owner::Owner,
    settle::Settle,
    upkeep::Upkeep,
};

/// The only one who writes. While one group of commands is being committed, the next one waits:
/// however slow the disk is, it is asked once for all of them.
pub(crate) struct Writer<'c> {
    conn: &'c Connection,
    begin: Statement<'c>,
    commit: Statement<'c>,
    rollback: Statement<'c>,
    savepoint: [Statement<'c>; 3],
    insert: Insert<'c>,
    fetch: Fetch<'c>,
    lease: LeaseRows<'c>,
    settle: Settle<'c>,
    owner: Owner<'c>,
    upkeep: Upkeep<'c>,
    clock: Clock,
    next_tick: Instant,
    /// What goes on with the next group.
    unfinished: VecDeque<Command>,
}

pub(crate) struct WriterSettings {
    pub(crate) clock: Clock,
    pub(crate) lease: Duration,
    pub(crate) keep_dead: Duration,
}

/// What a command came to. It is told once the group is on the disk.
enum Done {
    Inserted(Vec<Option<Lease>>),
    Fetched(DueDeliveries),
    Settled(Vec<SettleOutcome>),
    Lost(Vec<Lease>),
    /// So many more were changed, and there may be others.
    Swept(usize),
    Closed,
    /// It goes on with the next group.
    Unfinished,
    /// Nobody waits for it any more.
    Nothing,
}

/// The most deliveries, and the most bytes of payloads, that are committed at once.
const GROUP: usize = 1_024;
const GROUP_BYTES: usize = 32 << 20;
/// How often it looks after what nobody asks it for.
const TICK: Duration = Duration::from_secs(1);

/// Starts the thread that writes. It ends, once it has done what it was asked to, when the last
/// sender of commands is gone.
pub(crate) fn start(
    conn: Connection,
    settings: WriterSettings,
) -> Result<Commands, SqliteOutboxError> {
    let (commands, received) = Commands::new();
    let (ready, is_ready) = mpsc::channel();
    let run = move || {
        let mut writer = match Writer::new(&conn, settings) {
            Ok(writer) => writer,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        let _ = ready.send(Ok(()));
        // What waits for an answer is dropped with the commands, and hears of it that way.
        if catch_unwind(AssertUnwindSafe(|| writer.serve(&received))).is_err() {
            tracing::error!("the thread of the SQLite outbox panicked: it takes nothing any more");
        }
    };
    thread::Builder::new()
        .name("webhook-outbox".to_owned())
        .spawn(run)
        .map_err(|error| SqliteOutboxError::with_source(SqliteOutboxErrorKind::Other, error))?;
    is_ready.recv().map_err(|_| SqliteOutboxErrorKind::Gone)??;
    Ok(commands)
}

impl<'c> Writer<'c> {
    fn new(conn: &'c Connection, settings: WriterSettings) -> rusqlite::Result<Self> {
        let WriterSettings {
            clock,
            lease,
            keep_dead,
        } = settings;
        Ok(Self {
            conn,
            begin: conn.prepare("BEGIN IMMEDIATE")?,
            commit: conn.prepare("COMMIT")?,
            rollback: conn.prepare("ROLLBACK")?,
            savepoint: [
                conn.prepare("SAVEPOINT command")?,
                conn.prepare("RELEASE command")?,
                conn.prepare("ROLLBACK TO command")?,
            ],
            insert: Insert::new(conn)?,
            fetch: Fetch::new(conn)?,
            lease: LeaseRows::new(conn)?,
            settle: Settle::new(conn)?,
            owner: Owner::new(conn, lease)?,
            upkeep: Upkeep::new(conn, keep_dead, &clock)?,
            clock,
            next_tick: Instant::now(),
            unfinished: VecDeque::new(),
        })
    }

    /// Until the last sender of commands is gone.
    fn serve(&mut self, commands: &Receiver<Command>) {
        loop {
            let wait = match self.unfinished.is_empty() {
                true => self.next_tick.saturating_duration_since(Instant::now()),
                false => Duration::ZERO,
            };
            let first = commands.recv_timeout(wait);
            let is_over = matches!(first, Err(RecvTimeoutError::Disconnected));
            let group = self.gather(first.ok(), commands);
            if !group.is_empty() {
                self.run(group);
            } else if is_over {
                break;
            }
            if Instant::now() >= self.next_tick {
                self.tick();
                self.next_tick = Instant::now() + TICK;
            }
        }
        if let Err(error) = self.leave() {
            self.roll_back();
            tracing::warn!(%error, "the SQLite outbox could not hand back its leases");
        }
    }

    fn gather(&mut self, first: Option<Command>, commands: &Receiver<Command>) -> Vec<Command> {
        let mut group: Vec<Command> = self.unfinished.drain(..).chain(first).collect();
        let size = |group: &[Command]| {
            let sizes = group.iter().map(Command::size);
            sizes.fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1))
        };
        let (mut number, mut bytes) = size(&group);
        while number < GROUP
            && bytes < GROUP_BYTES
            && let Ok(next) = commands.try_recv()
        {
            let (more, more_bytes) = next.size();
            (number, bytes) = (number + more, bytes + more_bytes);
            group.push(next);
        }
        // Last, so that they see what the others make due.
        group.sort_by_key(Command::is_fetch);
        group
    }

    fn run(&mut self, group: Vec<Command>) {
        let Some(mut group) = self.look_only(group) else {
            return;
        };
        match self.transact(&group) {
            Ok(done) => {
                for (command, done) in group.into_iter().zip(done) {
                    match done {
                        Ok(done) => self.tell(command, done),
                        Err(error) => command.fail(error.into()),
                    }
                }
            }
            Err(error) => {
                let error = SqliteOutboxError::from(error);
                group
                    .drain(..)
                    .for_each(|command| command.fail(error.clone()));
            }
        }
    }

    /// Answers without a transaction when nothing is due: an idle outbox writes nothing.
    fn look_only(&mut self, group: Vec<Command>) -> Option<Vec<Command>> {
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

    /// All of the commands that can be carried out, or none.
    fn transact(&mut self, group: &[Command]) -> rusqlite::Result<Vec<rusqlite::Result<Done>>> {
        let done = self.begin.execute([]).and_then(|_| {
            let now = self.clock.now_ms();
            let done = group.iter().map(|command| self.apply_alone(command, now));
            let done = done.collect::<rusqlite::Result<Vec<_>>>()?;
            self.commit.execute([])?;
            Ok(done)
        });
        match &done {
            Ok(_) => self.owner.beat_is_kept(),
            Err(_) => self.roll_back(),
        }
        done
    }

    /// A command that fails takes no other one with it, unless nothing works any more.
    fn apply_alone(
        &mut self,
        command: &Command,
        now: i64,
    ) -> rusqlite::Result<rusqlite::Result<Done>> {
        self.savepoint[0].execute([])?;
        let done = self.apply(command, now);
        if done.is_err() {
            if self.conn.is_autocommit() {
                // SQLite has rolled all of it back by itself.
                return done.map(Ok);
            }
            self.savepoint[2].execute([])?;
        }
        self.savepoint[1].execute([])?;
        Ok(done)
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
            Command::Redeliver(sweep) => Done::Swept(self.settle.revive(&sweep.filter, now)?),
            Command::Cancel(sweep) => Done::Swept(self.settle.cancel(&sweep.filter)?),
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

    /// Whoever does not wait any more needs no answer: what was leased runs out, or is settled by
    /// whoever asks again.
    fn tell(&mut self, command: Command, done: Done) {
        match (command, done) {
            (Command::Insert(_, reply), Done::Inserted(leases)) => drop(reply.send(Ok(leases))),
            (Command::Fetch(_, reply), Done::Fetched(found)) => {
                if let Err(Ok(found)) = reply.send(Ok(found)) {
                    self.give_back(&found);
                }
            }
            (Command::Settle(_, reply), Done::Settled(settled)) => drop(reply.send(Ok(settled))),
            (Command::Renew(_, reply), Done::Lost(lost)) => drop(reply.send(Ok(lost))),
            (Command::Redeliver(sweep), Done::Swept(number)) => {
                self.go_on(sweep, number, Command::Redeliver);
            }
            (Command::Cancel(sweep), Done::Swept(number)) => {
                self.go_on(sweep, number, Command::Cancel);
            }
            (Command::Close(reply), Done::Closed) => drop(reply.send(Ok(()))),
            (command, Done::Unfinished) => self.unfinished.push_back(command),
            _ => {}
        }
    }

    /// Some at a time: what was accepted meanwhile has its turn in between.
    fn go_on(&mut self, mut sweep: Sweep, number: usize, command: impl Fn(Sweep) -> Command) {
        sweep.done += number;
        if number == 0 {
            let _ = sweep.reply.send(Ok(sweep.done));
        } else {
            self.unfinished.push_back(command(sweep));
        }
    }

    /// The call that fetched these was dropped before it had its answer.
    fn give_back(&mut self, found: &DueDeliveries) {
        use tower_webhook::outbox::{Settlement, Verdict};
        if found.deliveries.is_empty() {
            return;
        }
        let leases = found.deliveries.iter().map(|leased| leased.lease);
        let released = leases.map(|lease| Settlement::new(lease, Verdict::Released, None));
        let (reply, _nobody) = tokio::sync::oneshot::channel();
        self.unfinished
            .push_back(Command::Settle(released.collect(), reply));
    }

    fn tick(&mut self) {
        let kept = self.upkeep.run(&self.clock);
        if let Err(error) = kept.and_then(|()| self.owner.take_over()) {
            self.roll_back();
            tracing::warn!(%error, "the SQLite outbox could not be tidied up");
        }
    }

    fn leave(&mut self) -> rusqlite::Result<()> {
        if self.owner.has_entered() {
            self.begin.execute([])?;
            self.owner.leave()?;
            self.commit.execute([])?;
        }
        Ok(())
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
