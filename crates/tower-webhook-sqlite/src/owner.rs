use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use rusqlite::{Connection, Statement, params};
use tower_webhook::{DeliveryId, outbox::Lease};

use crate::{damaged::DamagedRows, strays::Strays};

/// Who has leased what: this process, and the others that have the file open.
///
/// An owner with leases writes a growing number, its beat, into its row whenever they are renewed.
/// Others note in that row how many seconds they have seen the beat stand still, each second once,
/// however many look, and by a steady clock. Once that is the time of a lease the owner is gone, and
/// what it had leased is due again: also where nobody lives for long enough to see all of it. No wall
/// clock is asked: setting one takes nothing from anybody.
pub(crate) struct Owner<'c> {
    beat: Statement<'c>,
    enter: Statement<'c>,
    others: Statement<'c>,
    mark: Statement<'c>,
    leave: Statement<'c>,
    leased: Statement<'c>,
    free: Statement<'c>,
    pub(crate) strays: Strays<'c>,
    /// Those that cannot be freed stay leased, to nobody in the end.
    pub(crate) damaged: DamagedRows,
    me: i64,
    /// The token of its latest lease. They begin anywhere, so that no other process has the same.
    token: u64,
    entered: bool,
    pub(crate) last_beat: Option<Instant>,
    /// In the transaction that is under way: until that is on the disk, what it had leased may still be its.
    pub(crate) has_left: bool,
    lease: Duration,
    seen: HashMap<i64, Seen>,
}

/// Within this time a beat serves all that is leased.
const BEAT: Duration = Duration::from_secs(1);

/// However short the leases of others are, a beat a second is in time.
pub(crate) const SHORTEST_LEASE: Duration = Duration::from_secs(3);

/// How many deliveries of an owner are freed at once.
pub(crate) const FREED: usize = 256;

struct Seen {
    beat: i64,
    silent: i64,
    since: Instant,
}

impl<'c> Owner<'c> {
    pub(crate) fn new(conn: &'c Connection, lease: Duration) -> rusqlite::Result<Self> {
        Ok(Self {
            beat: conn.prepare("UPDATE owner SET beat = beat + 1, silent = 0 WHERE id = ?1")?,
            enter: conn
                .prepare("INSERT INTO owner (id, pid, since, beat) VALUES (?1, ?2, ?3, 0)")?,
            others: conn.prepare("SELECT id, beat, silent FROM owner WHERE id <> ?1")?,
            mark: conn.prepare(
                "UPDATE owner SET silent = silent + 1 WHERE id = ?1 AND beat = ?2 AND silent = ?3",
            )?,
            leave: conn.prepare("DELETE FROM owner WHERE id = ?1")?,
            leased: conn.prepare(
                "SELECT seq FROM delivery INDEXED BY delivery_owner
                 WHERE state = 'leased' AND owner IS ?1",
            )?,
            free: conn.prepare(
                "UPDATE delivery SET state = 'waiting', owner = NULL, token = NULL WHERE seq = ?1",
            )?,
            strays: Strays::new(conn)?,
            damaged: DamagedRows::default(),
            me: new_id(),
            token: fastrand::u64(..1 << 62),
            entered: false,
            last_beat: None,
            has_left: false,
            lease: lease.max(SHORTEST_LEASE),
            seen: HashMap::new(),
        })
    }

    pub(crate) fn id(&self) -> i64 {
        self.me
    }

    /// Of an insert: where nobody heard of it, the next insert has the delivery.
    pub(crate) fn new_lease(&mut self, delivery: DeliveryId) -> Lease {
        self.token += 1;
        Lease::new(delivery, self.token)
    }

    /// Of a fetch: SQLite sees a negative token.
    pub(crate) fn fetched_lease(&mut self, delivery: DeliveryId) -> Lease {
        self.token += 1;
        Lease::new(delivery, !self.token)
    }

    /// Within a transaction, before anything is leased in its name.
    pub(crate) fn beat_if_due(&mut self, now: i64) -> rusqlite::Result<()> {
        match self.last_beat.is_none_or(|last| last.elapsed() >= BEAT) {
            true => self.beat(now),
            false => Ok(()),
        }
    }

    /// Within a transaction. Where others took this owner for gone, it is another one from now on,
    /// and what the former had leased is lost. One that has nothing leased is silent.
    pub(crate) fn beat(&mut self, now: i64) -> rusqlite::Result<()> {
        if self.beat.execute([self.me])? == 0 {
            if self.entered {
                self.me = new_id();
            }
            self.enter
                .execute(params![self.me, std::process::id(), now])?;
        }
        self.last_beat = Some(Instant::now());
        Ok(())
    }

    /// The transaction is on the disk.
    pub(crate) fn is_kept(&mut self) {
        self.entered |= self.last_beat.is_some();
        if std::mem::take(&mut self.has_left) {
            // Whatever it leases later, it leases as another one.
            self.me = new_id();
            self.entered = false;
            self.last_beat = None;
        }
    }

    /// It is not.
    pub(crate) fn is_lost(&mut self) {
        self.last_beat = None;
        self.has_left = false;
    }

    /// Within a transaction, after all that leases: hands back some of what it has leased, and leaves with
    /// the last of it. Says whether there is more.
    pub(crate) fn leave(&mut self) -> rusqlite::Result<bool> {
        if self.free_some(Some(self.me))? == FREED {
            return Ok(true);
        }
        self.leave.execute([self.me])?;
        self.has_left = true;
        Ok(false)
    }

    pub(crate) fn free_some(&mut self, owner: Option<i64>) -> rusqlite::Result<usize> {
        let leased = self.some_leased(owner)?;
        for &seq in &leased {
            self.damaged.note(seq, self.free.execute([seq]))?;
        }
        Ok(leased.len())
    }

    pub(crate) fn some_leased(&mut self, owner: Option<i64>) -> rusqlite::Result<Vec<i64>> {
        let leased = self.leased.query_map([owner], |row| row.get(0))?;
        let is_held_back = |seq: i64| self.damaged.holds(seq);
        let leased = leased.filter(|seq| !seq.as_ref().is_ok_and(|seq| is_held_back(*seq)));
        leased.take(FREED).collect()
    }

    pub(crate) fn has_entered(&self) -> bool {
        self.entered
    }

    /// Looks at the others. Says whether one has been silent for long enough to note that.
    pub(crate) fn sees_silence(&mut self) -> rusqlite::Result<bool> {
        let others = self.others.query_map([self.me], |row| {
            Ok((row.get(0)?, (row.get(1)?, row.get(2)?)))
        })?;
        let others: HashMap<i64, (i64, i64)> = others.collect::<Result<_, _>>()?;
        self.seen.retain(|id, _| others.contains_key(id));
        let now = Instant::now();
        for (id, (beat, silent)) in others {
            let fresh = Seen {
                beat,
                silent,
                since: now,
            };
            let seen = self.seen.entry(id).or_insert(fresh);
            if (seen.beat, seen.silent) != (beat, silent) {
                (seen.beat, seen.silent, seen.since) = (beat, silent, now);
            }
        }
        Ok(self.seen.values().any(|seen| seen.is_silent(now)))
    }

    /// Within a transaction: notes a second of silence, and frees what owners that are gone had leased.
    /// Says whether there is more to free.
    pub(crate) fn take_over(&mut self) -> rusqlite::Result<bool> {
        // An owner that waits for the lock is not gone: whoever has waited for it as well has seen
        // nothing.
        let now = Instant::now();
        let gone_after = i64::try_from(self.lease.as_secs()).map_or(i64::MAX, |lease| lease + 1);
        let mut gone = Vec::new();
        for (id, seen) in self.seen.iter_mut().filter(|(_, seen)| seen.is_silent(now)) {
            if now.duration_since(seen.since) > 3 * BEAT {
                seen.since = now;
                continue;
            }
            if seen.silent >= gone_after {
                gone.push(*id);
            } else if self.mark.execute([*id, seen.beat, seen.silent])? == 1 {
                // The next second begins where this one ended, not where it is looked at.
                seen.silent += 1;
                seen.since += BEAT;
            }
        }
        let mut has_more = false;
        for id in gone {
            let freed = self.free_some(Some(id))?;
            if freed > 0 {
                tracing::warn!(freed, "deliveries of a process that is gone are due again");
            }
            match freed < FREED {
                true => drop(self.leave.execute([id])?),
                false => has_more = true,
            }
        }
        Ok(has_more)
    }
}

impl Seen {
    fn is_silent(&self, now: Instant) -> bool {
        now.duration_since(self.since) >= BEAT
    }
}

/// Never used before, as far as chance goes.
fn new_id() -> i64 {
    fastrand::i64(1..i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner_table() -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(include_str!("schema.sql")).unwrap();
        conn.execute_batch("INSERT INTO owner (id, pid, since, beat) VALUES (7, 7, 0, 3)")
            .unwrap();
        conn
    }

    fn states(conn: &Connection) -> (i64, i64, i64) {
        let states = "SELECT (SELECT count(*) FROM delivery WHERE state = 'leased'),
                (SELECT count(*) FROM delivery WHERE state = 'waiting'),
                (SELECT count(*) FROM owner WHERE id <> 7)";
        conn.query_row(states, [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap()
    }

    /// As on a disk that is full.
    #[test]
    fn what_could_not_be_handed_back_is_handed_back_later() {
        let conn = owner_table();
        let mut owner = Owner::new(&conn, Duration::from_secs(10)).unwrap();
        conn.execute_batch("BEGIN").unwrap();
        owner.beat_if_due(0).unwrap();
        let columns = "id, request_id, state, host, status, envelope, payload_len, accepted_at,
                due_at, owner";
        let leased = format!(
            "INSERT INTO delivery ({columns}) VALUES ('1', '1', 'leased', 'a', 200, x'', 0, 0, 0, ?1)"
        );
        conn.execute(&leased, [owner.id()]).unwrap();
        conn.execute_batch("COMMIT").unwrap();
        owner.is_kept();
        for (end, expected) in [("ROLLBACK", (1, 0, 1)), ("COMMIT", (0, 1, 0))] {
            conn.execute_batch("BEGIN").unwrap();
            assert!(!owner.leave().unwrap());
            conn.execute_batch(end).unwrap();
            match end {
                "COMMIT" => owner.is_kept(),
                _ => owner.is_lost(),
            }
            assert_eq!(states(&conn), expected);
            assert_eq!(owner.has_entered(), end == "ROLLBACK");
        }
    }

    /// One look a second is enough to count every second.
    #[test]
    fn an_owner_that_is_gone_is_found_so_in_the_time_of_a_lease() {
        let conn = owner_table();
        let mut owner = Owner::new(&conn, Duration::from_secs(10)).unwrap();
        assert!(!owner.sees_silence().unwrap());
        let mut looks = 0;
        while conn.query_row("SELECT count(*) FROM owner", [], |row| row.get(0)) == Ok(1) {
            owner.seen.get_mut(&7).unwrap().since -= BEAT;
            assert!(owner.sees_silence().unwrap());
            assert!(!owner.take_over().unwrap());
            looks += 1;
        }
        assert_eq!(looks, 12);
    }
}
