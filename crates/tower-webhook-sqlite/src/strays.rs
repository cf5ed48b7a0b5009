use rusqlite::{Connection, OptionalExtension, Statement, params};

use crate::owner::{FREED, Owner};

/// Finds what is leased to nobody in the table of owners, as it is where somebody has changed the file.
/// Whoever leases is in the table before, in the same transaction or an earlier one.
pub(crate) struct Strays<'c> {
    has_none: Statement<'c>,
    next: Statement<'c>,
    is_known: Statement<'c>,
}

/// The most of such owners that are found at once.
const AT_ONCE: usize = 64;

impl<'c> Strays<'c> {
    pub(crate) fn new(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            has_none: conn.prepare(
                "SELECT 1 FROM delivery INDEXED BY delivery_owner
                 WHERE state = 'leased' AND owner IS NULL",
            )?,
            // From owner to owner, however many deliveries each has leased.
            next: conn.prepare(
                "SELECT owner FROM delivery INDEXED BY delivery_owner
                 WHERE state = 'leased' AND owner >= ?1 ORDER BY owner LIMIT 1",
            )?,
            is_known: conn.prepare("SELECT 1 FROM owner WHERE id = ?1")?,
        })
    }

    /// What their rows have for an owner.
    pub(crate) fn owners(&mut self) -> rusqlite::Result<Vec<Option<i64>>> {
        let mut unknown = Vec::new();
        if self.has_none.exists([])? {
            unknown.push(None);
        }
        let mut from = Some(i64::MIN);
        while unknown.len() < AT_ONCE
            && let Some(least) = from
            && let Some(owner) = self.next(least)?
        {
            if !self.is_known.exists(params![owner])? {
                unknown.push(Some(owner));
            }
            from = owner.checked_add(1);
        }
        Ok(unknown)
    }

    fn next(&mut self, least: i64) -> rusqlite::Result<Option<i64>> {
        let next = self.next.query_row([least], |row| row.get(0));
        next.optional()
    }
}

impl Owner<'_> {
    /// Whether anything is leased to nobody in the table.
    pub(crate) fn sees_strays(&mut self) -> rusqlite::Result<bool> {
        for owner in self.strays.owners()? {
            if !self.some_leased(owner)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Within a transaction, as what was just leased may be somebody's by now: frees some of it. Says
    /// whether there is more.
    pub(crate) fn free_strays(&mut self) -> rusqlite::Result<bool> {
        let mut freed = 0;
        for owner in self.strays.owners()? {
            freed += self.free_some(owner)?;
            if freed >= FREED {
                break;
            }
        }
        if freed > 0 {
            tracing::warn!(freed, "deliveries that were leased to nobody are due again");
        }
        Ok(freed >= FREED)
    }
}
