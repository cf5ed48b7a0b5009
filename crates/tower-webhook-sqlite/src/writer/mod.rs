mod commit;

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, Statement};
use tower_webhook::outbox::{DueDeliveries, Lease, SettleOutcome};

use crate::{
    SqliteOutboxError, SqliteOutboxErrorKind,
    clock::Clock,
    command::{Command, Commands},
    dead_letters::{DeadLetterBounds, DeadLetters},
    fetch::Fetch,
    insert::Insert,
    intact::Intact,
    lease::LeaseRows,
    log::Log,
    open_files::OpenFiles,
    owner::Owner,
    room::Room,
    settle::Settle,
    sweep::{Progress, Sweep},
    turns::Turns,
    upkeep::Upkeep,
};

/// The only one who writes. While one group of commands is being committed, the next one waits:
/// however slow the disk is, it is asked once for all of them.
pub(crate) struct Writer<'c> {
    conn: &'c Connection,
    begin: Statement<'c>,
    end: Statement<'c>,
    rollback: Statement<'c>,
    savepoint: [Statement<'c>; 3],
    insert: Insert<'c>,
    fetch: Fetch<'c>,
    lease: LeaseRows<'c>,
    settle: Settle<'c>,
    owner: Owner<'c>,
    upkeep: Upkeep<'c>,
    dead: DeadLetters<'c>,
    room: Room<'c>,
    turns: Turns,
    intact: Intact<'c>,
    log: Log,
    clock: Clock,
    next_tick: Instant,
    /// Upkeep goes on with the next turn.
    is_untidy: bool,
    /// Nothing new is taken meanwhile.
    is_log_long: bool,
    /// What goes on with the next group.
    unfinished: VecDeque<Command>,
}

pub(crate) struct WriterSettings {
    pub(crate) clock: Clock,
    pub(crate) lease: Duration,
    pub(crate) dead_letters: DeadLetterBounds,
    pub(crate) lock_timeout: Duration,
    pub(crate) path: PathBuf,
    pub(crate) max_file_size: u64,
    pub(crate) files: OpenFiles,
}

type Answer = Result<Done, SqliteOutboxError>;

/// What a command came to. It is told once the group is on the disk.
enum Done {
    Inserted(Vec<Option<Lease>>),
    Fetched(DueDeliveries),
    Settled(Vec<SettleOutcome>),
    Lost(Vec<Lease>),
    /// Some more were changed.
    Swept(Progress),
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
    let (commands, received) = mpsc::channel();
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
    let thread = thread::Builder::new()
        .name("webhook-outbox".to_owned())
        .spawn(run)
        .map_err(|error| SqliteOutboxError::with_source(SqliteOutboxErrorKind::Other, error))?;
    is_ready.recv().map_err(|_| SqliteOutboxErrorKind::Gone)??;
    Ok(Commands::new(commands, thread))
}

impl<'c> Writer<'c> {
    fn new(conn: &'c Connection, settings: WriterSettings) -> rusqlite::Result<Self> {
        let WriterSettings {
            clock,
            lease,
            dead_letters,
            lock_timeout,
            path,
            max_file_size,
            files,
        } = settings;
        let writer = Self {
            conn,
            begin: conn.prepare("BEGIN IMMEDIATE")?,
            end: conn.prepare("COMMIT")?,
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
            upkeep: Upkeep::new(conn, &clock)?,
            dead: DeadLetters::new(conn, dead_letters)?,
            room: Room::new(conn, &path, max_file_size)?,
            turns: Turns::new(lock_timeout),
            log: Log::new(files.clone()),
            intact: Intact::new(conn, files)?,
            clock,
            next_tick: Instant::now(),
            is_untidy: false,
            is_log_long: false,
            unfinished: VecDeque::new(),
        };
        // From now on it waits for its turn by itself.
        conn.busy_timeout(Duration::ZERO)?;
        Ok(writer)
    }

    /// Until the last sender of commands is gone.
    fn serve(&mut self, commands: &Receiver<Command>) {
        loop {
            let wait = match self.unfinished.is_empty() && !self.is_untidy {
                true => self.next_tick.saturating_duration_since(Instant::now()),
                false => Duration::ZERO,
            };
            let first = commands.recv_timeout(wait);
            let is_over = matches!(first, Err(RecvTimeoutError::Disconnected));
            if is_over {
                // Nobody waits for these any more, however many are left.
                self.unfinished.retain(|command| !command.is_sweep());
            }
            let group = self.gather(first.ok(), commands);
            if !group.is_empty() {
                self.run(group);
            } else if is_over {
                break;
            }
            if self.is_untidy || Instant::now() >= self.next_tick {
                self.tick();
            }
        }
        if let Err(error) = self.leave() {
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
        group.sort_by_key(Command::order);
        group
    }

    fn run(&mut self, group: Vec<Command>) {
        let group = self.refuse_unless_intact(group);
        let Some(mut group) = self.look_only(group) else {
            return;
        };
        match self.commit(&group) {
            Ok(done) => {
                for (command, done) in group.into_iter().zip(done) {
                    match done {
                        Ok(done) => self.tell(command, done),
                        Err(error) => command.fail(error),
                    }
                }
                self.turns.give_way();
            }
            Err(error) => {
                let error = SqliteOutboxError::from(error);
                group
                    .drain(..)
                    .for_each(|command| command.fail(error.clone()));
            }
        }
    }

    /// Nothing is put into a file in which nobody would find it again.
    fn refuse_unless_intact(&mut self, group: Vec<Command>) -> Vec<Command> {
        if !group.iter().any(Command::is_insert) {
            return group;
        }
        let Err(error) = self.intact.check() else {
            return group;
        };
        let (inserts, others) = group.into_iter().partition(Command::is_insert);
        let inserts: Vec<Command> = inserts;
        for insert in inserts {
            insert.fail(error.clone());
        }
        others
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
            (Command::Redeliver(sweep), Done::Swept(progress)) => {
                self.go_on(sweep, progress, Command::Redeliver);
            }
            (Command::Cancel(sweep), Done::Swept(progress)) => {
                self.go_on(sweep, progress, Command::Cancel);
            }
            (Command::Close(reply), Done::Closed) => drop(reply.send(Ok(()))),
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

    /// Looks after what nobody asks for, a little at a time.
    fn tick(&mut self) {
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
        let is_due = self.upkeep.is_due(&self.clock) || self.dead.is_over();
        let sees_silence = self.owner.sees_silence()?;
        if !is_due && !sees_silence {
            return Ok(false);
        }
        let has_more = self.within_transaction(|writer| {
            if is_due {
                let may_shrink = !writer.room.disk_is_full();
                let Self {
                    upkeep,
                    dead,
                    clock,
                    ..
                } = writer;
                upkeep.run(dead, clock, may_shrink)?;
            }
            writer.owner.take_over()
        })?;
        self.turns.give_way();
        Ok(has_more || self.upkeep.is_due(&self.clock) || self.dead.is_over())
    }

    fn leave(&mut self) -> rusqlite::Result<()> {
        match self.owner.has_entered() {
            true => self.within_transaction(|writer| writer.owner.leave()),
            false => Ok(()),
        }
    }
}
