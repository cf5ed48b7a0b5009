use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, Statement, params};

use super::{
    choice::Choice,
    command::{ClaimRequest, StoredRow},
    memory::{Memory, Share},
};

/// Chooses what is due and claims it.
pub(super) struct Pick<'c> {
    one: Statement<'c>,
    due: Statement<'c>,
    next_host: Statement<'c>,
    of_host: Statement<'c>,
    next_due: Statement<'c>,
    claim: Statement<'c>,
    read: Statement<'c>,
    /// How far the hosts have been gone through.
    last_host: String,
    /// The round that the next request goes on with.
    round: Option<Round>,
    /// The row whose turn it is to wait for memory.
    waits: Option<i64>,
}

/// Once through all hosts, in as many requests as it takes.
struct Round {
    first: String,
    wrapped: bool,
}

/// How many rows, and after those how many hosts, one request looks at.
const ROWS: usize = 1_024;
const HOSTS: usize = 256;

/// What was chosen, and why it is not more.
#[derive(Default)]
pub(super) struct Picked {
    pub(super) rows: Vec<(i64, Share, StoredRow)>,
    pub(super) next_due: Option<Duration>,
    /// Something was left for want of memory, when it was like this.
    pub(super) starved: Option<Memory>,
    pub(super) more: bool,
}

impl Picked {
    pub(super) fn none_for(time: Duration) -> Self {
        Self {
            next_due: Some(time),
            ..Self::default()
        }
    }
}

impl<'c> Pick<'c> {
    pub(super) fn new(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            one: conn.prepare(
                "SELECT seq, host, payload_len FROM delivery
                 WHERE seq = ?1 AND state = 'waiting' AND due_at <= ?2",
            )?,
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
            claim: conn
                .prepare("UPDATE delivery SET state = 'claimed', owner = ?2 WHERE seq = ?1")?,
            read: conn.prepare(
                "SELECT id, endpoint, status, headers, secret, secret_key, payload_len, attempt,
                     body
                 FROM delivery LEFT JOIN payload USING (seq) WHERE seq = ?1",
            )?,
            last_host: String::new(),
            round: None,
            waits: None,
        })
    }

    /// Whether anything is due at all: a look that needs no lock.
    pub(super) fn is_any_due(&mut self, now: i64) -> rusqlite::Result<bool> {
        self.due.exists(params![now, 1])
    }

    pub(super) fn until_next_due(&mut self, now: i64) -> rusqlite::Result<Option<Duration>> {
        let due: Option<i64> = self
            .next_due
            .query_row([now], |row| row.get(0))
            .optional()?;
        Ok(due.map(|due| Duration::from_millis(due.abs_diff(now))))
    }

    /// Claims what is due and has room, the longest due first. What waits for memory is looked at
    /// before all others, so that it keeps waiting for it, or takes it.
    pub(super) fn run(
        &mut self,
        request: &ClaimRequest,
        memory: Memory,
        owner: i64,
        now: i64,
    ) -> rusqlite::Result<Picked> {
        let mut choice = Choice::new(request, memory);
        let round = self.round.take();
        if let Some(seq) = self.waits {
            choice.go_through(self.one.query([seq, now])?)?;
        }
        let looked_at = choice.go_through(self.due.query(params![now, ROWS as i64])?)?;
        if looked_at == ROWS && choice.has_room() {
            let left = self.go_through_hosts(round, &mut choice, now)?;
            self.round = left.filter(|_| choice.rows.is_empty());
        }
        let more = self.round.is_some();
        self.waits = choice.waits.map(|(seq, _)| seq);
        let mut picked = Picked {
            starved: choice.waits.map(|_| memory),
            more,
            ..Picked::default()
        };
        for (seq, share) in choice.rows {
            self.claim.execute([seq, owner])?;
            let row = self.read.query_row([seq], stored)?;
            picked.rows.push((seq, share, row));
        }
        if picked.rows.is_empty() && !more {
            picked.next_due = self.until_next_due(now)?;
        }
        Ok(picked)
    }

    /// When the longest due are all of hosts without room: however many they are, every other
    /// host gets its turn. Gives the round back when there are hosts left to look at.
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
        let waits = choice.waits;
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
            let limit = choice.most_of_host(&host);
            if limit > 0 {
                let of_host = params![host, now, limit as i64];
                choice.go_through(self.of_host.query(of_host)?)?;
            }
            self.last_host = host;
            if !choice.has_room() {
                return Ok(None);
            }
            // The next one to wait is looked for in the hosts behind it.
            if choice.waits != waits {
                break;
            }
        }
        Ok(Some(round))
    }
}

/// A value of another type, or a text that is not UTF-8, is no reason to fail: the row is then
/// unreadable, not the file.
fn stored(row: &Row<'_>) -> rusqlite::Result<StoredRow> {
    let text = |index| -> rusqlite::Result<Option<String>> {
        let value = row.get_ref(index)?;
        Ok(value.as_str().ok().map(str::to_owned))
    };
    let bytes = |index| -> rusqlite::Result<Option<&[u8]>> {
        let value = row.get_ref(index)?;
        Ok(value.as_bytes().ok())
    };
    let number =
        |index| -> rusqlite::Result<i64> { Ok(row.get_ref(index)?.as_i64().unwrap_or(-1)) };
    Ok(StoredRow {
        id: text(0)?,
        endpoint: text(1)?,
        status: number(2)?,
        headers: text(3)?,
        secret: bytes(4)?.map(<[u8]>::to_vec),
        secret_key: text(5)?,
        payload_len: number(6)?,
        attempt: number(7)?,
        payload: bytes(8)?.map(Bytes::copy_from_slice),
    })
}
