mod answer;
mod apply;
mod chores;
mod commit;
mod mend;

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, Statement};

use crate::{
    SqliteOutboxError, SqliteOutboxErrorKind,
    clock::Clock,
    command::{Command, Commands},
    dead_letters::{DeadLetterBounds, DeadLetters},
    fetch::Fetch,
    history::{History, HistoryBounds},
    insert::Insert,
    intact::Intact,
    lease::LeaseRows,
    log::Log,
    open_files::OpenFiles,
    owner::Owner,
    room::Room,
    settle::Settle,
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
    history: History<'c>,
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
    pub(crate) history: HistoryBounds,
    pub(crate) lock_timeout: Duration,
    pub(crate) path: PathBuf,
    pub(crate) max_file_size: u64,
    pub(crate) files: OpenFiles,
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
            history,
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
            history: History::new(conn, history)?,
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
        let Some(group) = self.look_only(group) else {
            return;
        };
        match self.commit(&group) {
            Ok(done) => {
                self.answer(group, done);
                self.turns.give_way();
            }
            Err(error) => {
                let error = SqliteOutboxError::from(error);
                group
                    .into_iter()
                    .for_each(|command| command.fail(error.clone()));
            }
        }
    }

    fn leave(&mut self) -> rusqlite::Result<()> {
        while self.owner.has_entered() && self.step(|writer| writer.owner.leave())? {}
        Ok(())
    }
}
