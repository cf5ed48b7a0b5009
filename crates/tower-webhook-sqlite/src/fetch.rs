use std::{collections::HashMap, time::Duration};

use rusqlite::{Connection, OptionalExtension, Row, Rows, Statement, params};
use tower_webhook::{endpoint::Host, outbox::Want};

use crate::damaged::DamagedRows;

/// Chooses what is due.
pub(crate) struct Fetch<'c> {
    due: Statement<'c>,
    next_host: Statement<'c>,
    of_host: Statement<'c>,
    next_due: Statement<'c>,
    /// How far the hosts have been gone through.
    last_host: String,
    /// The round that the next question goes on with.
    round: Option<Round>,
}

/// Once through all hosts, in as many steps as it takes.
struct Round {
    first: String,
    wrapped: bool,
}

/// What was chosen, by the rows' numbers.
pub(crate) struct Choice<'w> {
    want: &'w Want,
    /// These are not chosen, whatever they say.
    held_back: &'w DamagedRows,
    pub(crate) rows: Vec<i64>,
    bytes: usize,
    of_hosts: HashMap<Host, usize>,
    /// Something that is due was left.
    pub(crate) has_left_some: bool,
    /// Not everything was looked at, and nothing was found yet.
    pub(crate) is_unfinished: bool,
}

/// How many rows, and after those how many hosts, one step looks at.
const ROWS: usize = 1_024;
const HOSTS: usize = 256;

impl<'c> Fetch<'c> {
    pub(crate) fn new(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            due: conn.prepare(
                "SELECT seq, host, payload_len FROM delivery INDEXED BY delivery_due
                 WHERE state = 'waiting' AND due_at <= ?1 ORDER BY due_at LIMIT ?2",
            )?,
            next_host: conn.prepare(
                "SELECT host FROM delivery INDEXED BY delivery_host
                 WHERE state = 'waiting' AND host > ?1 ORDER BY host LIMIT 1",
            )?,
            of_host: conn.prepare(
                "SELECT seq, host, payload_len FROM delivery INDEXED BY delivery_host
                 WHERE state = 'waiting' AND host = ?1 AND due_at <= ?2 ORDER BY due_at LIMIT ?3",
            )?,
            next_due: conn.prepare(
                "SELECT due_at FROM delivery INDEXED BY delivery_due
                 WHERE state = 'waiting' AND due_at > ?1 ORDER BY due_at LIMIT 1",
            )?,
            last_host: String::new(),
            round: None,
        })
    }

    /// Whether anything is due at all: a look that needs no lock.
    pub(crate) fn is_any_due(&mut self, now: i64) -> rusqlite::Result<bool> {
        self.due.exists(params![now, 1])
    }

    pub(crate) fn until_next_due(&mut self, now: i64) -> rusqlite::Result<Option<Duration>> {
        let due: Option<i64> = self
            .next_due
            .query_row([now], |row| row.get(0))
            .optional()?;
        Ok(due.map(|due| Duration::from_millis(due.abs_diff(now))))
    }

    /// Chooses what is due and wanted, the longest due first. When the longest due are all of hosts
    /// that are saturated, every other host has its turn, however many they are.
    pub(crate) fn choose<'w>(
        &mut self,
        want: &'w Want,
        held_back: &'w DamagedRows,
        now: i64,
    ) -> rusqlite::Result<Choice<'w>> {
        let mut choice = Choice::new(want, held_back);
        if want.of_other_hosts == 0 {
            self.choose_of_named(&mut choice, now)?;
            choice.has_left_some = true;
            return Ok(choice);
        }
        let looked_at = choice.go_through(self.due.query(params![now, ROWS as i64])?)?;
        if looked_at == ROWS {
            choice.has_left_some = true;
            let round = self.round.take();
            if choice.has_room() {
                let left = self.go_through_hosts(round, &mut choice, now)?;
                self.round = left.filter(|_| choice.rows.is_empty());
            }
            choice.is_unfinished = self.round.is_some();
        }
        Ok(choice)
    }

    /// No other host is wanted: nothing else is looked at.
    fn choose_of_named(&mut self, choice: &mut Choice<'_>, now: i64) -> rusqlite::Result<()> {
        for (host, number) in &choice.want.of_host {
            if !choice.has_room() {
                break;
            }
            if *number > 0 {
                let of_host = params![host.as_str(), now, limit(*number)];
                choice.go_through(self.of_host.query(of_host)?)?;
            }
        }
        Ok(())
    }

    /// Gives the round back when there are hosts left to look at.
    fn go_through_hosts(
        &mut self,
        round: Option<Round>,
        choice: &mut Choice<'_>,
        now: i64,
    ) -> rusqlite::Result<Option<Round>> {
        let mut round = round.unwrap_or_else(|| Round {
            first: self.last_host.clone(),
            wrapped: false,
        });
        for _ in 0..HOSTS {
            let next: Option<String> = self
                .next_host
                .query_row([&self.last_host], |row| row.get(0))
                .optional()?;
            let Some(host) = next else {
                if round.wrapped {
                    return Ok(None);
                }
                round.wrapped = true;
                self.last_host.clear();
                continue;
            };
            if round.wrapped && host > round.first {
                return Ok(None);
            }
            let most = choice.most_of(&Host::from(&*host));
            if most > 0 {
                let of_host = params![host, now, limit(most)];
                choice.go_through(self.of_host.query(of_host)?)?;
            }
            self.last_host = host;
            if !choice.has_room() {
                return Ok(None);
            }
        }
        Ok(Some(round))
    }
}

fn limit(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl<'w> Choice<'w> {
    fn new(want: &'w Want, held_back: &'w DamagedRows) -> Self {
        Self {
            want,
            held_back,
            rows: Vec::new(),
            bytes: 0,
            of_hosts: HashMap::new(),
            has_left_some: false,
            is_unfinished: false,
        }
    }

    fn has_room(&self) -> bool {
        self.rows.len() < self.want.deliveries && self.bytes < self.want.bytes
    }

    fn of(&self, host: &Host) -> usize {
        let taken = self.of_hosts.get(host).copied().unwrap_or(0);
        self.want.of(host).saturating_sub(taken)
    }

    /// The most rows of this host that are worth a look: some may have been chosen already.
    fn most_of(&self, host: &Host) -> usize {
        match self.of(host) {
            0 => 0,
            _ => self.want.of(host).min(self.want.deliveries),
        }
    }

    /// Says how many rows it has looked at.
    fn go_through(&mut self, mut rows: Rows<'_>) -> rusqlite::Result<usize> {
        let mut looked_at = 0;
        while let Some(row) = rows.next()? {
            looked_at += 1;
            if !self.has_room() {
                self.has_left_some = true;
                break;
            }
            self.consider(row)?;
        }
        Ok(looked_at)
    }

    fn consider(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        let seq = row.get(0)?;
        let host = String::from_utf8_lossy(row.get_ref(1)?.as_bytes()?);
        let host = Host::from(&*host);
        if self.of(&host) == 0 {
            self.has_left_some = true;
            return Ok(());
        }
        if self.rows.contains(&seq) || self.held_back.holds(seq) {
            return Ok(());
        }
        let len = row.get_ref(2)?.as_i64().unwrap_or(0);
        self.bytes = self.bytes.saturating_add(usize::try_from(len).unwrap_or(0));
        self.rows.push(seq);
        *self.of_hosts.entry(host).or_default() += 1;
        Ok(())
    }
}
