use std::{collections::HashMap, time::Duration};

use tower_webhook::{DeliveryId, endpoint::Host, outbox::Want};

use crate::{
    PostgresOutboxError,
    value::{SqlId, to_i64},
};

/// The deliveries chosen so far, the longest due first.
#[derive(Default)]
pub(crate) struct Choice {
    pub(crate) ids: Vec<DeliveryId>,
    pub(crate) has_left_some: bool,
    pub(crate) next_due: Option<Duration>,
    bytes: usize,
    of_hosts: HashMap<Host, usize>,
}

/// The limits of a [`Want`] as statement parameters.
pub(crate) struct Wanted {
    pub(crate) hosts: Vec<String>,
    pub(crate) numbers: Vec<i64>,
    pub(crate) others: i64,
    pub(crate) all: i64,
}

impl Choice {
    pub(crate) fn has_room(&self, want: &Want) -> bool {
        self.ids.len() < want.deliveries && self.bytes < want.bytes
    }

    /// Takes rows of (id, host, length) while there is room. Returns the host at which the room ran out,
    /// if it did.
    pub(crate) fn take<'r>(
        &mut self,
        want: &Want,
        rows: impl Iterator<Item = &'r tokio_postgres::Row>,
    ) -> Result<Option<String>, PostgresOutboxError> {
        for row in rows {
            let Some(SqlId(id)) = row.try_get::<_, Option<SqlId>>(0)? else {
                continue;
            };
            let name: &str = row.try_get(1)?;
            let host = Host::from(name);
            if !self.has_room(want) {
                self.has_left_some = true;
                return Ok(Some(name.to_owned()));
            }
            let taken = self.of_hosts.get(&host).copied().unwrap_or(0);
            if taken >= want.of(&host) {
                self.has_left_some = true;
                continue;
            }
            if self.ids.contains(&id) {
                continue;
            }
            let len = row.try_get::<_, i64>(2)?;
            let len = usize::try_from(len).unwrap_or(0);
            self.bytes = self.bytes.saturating_add(len);
            self.ids.push(id);
            self.of_hosts.insert(host, taken + 1);
        }
        Ok(None)
    }
}

impl Choice {
    /// The hosts of the chosen rows, sorted.
    pub(crate) fn hosts(&self) -> Vec<String> {
        let names = self.of_hosts.keys().map(|host| host.as_str().to_owned());
        let mut hosts: Vec<_> = names.collect();
        hosts.sort_unstable();
        hosts
    }

    /// Whether more of some host was wanted than a narrower limit allowed, and all that it allowed was chosen.
    pub(crate) fn is_cut_short(&self, want: &Want, narrowed: &Want) -> bool {
        let taken = |host| self.of_hosts.get(host).copied().unwrap_or(0);
        let mut hosts = narrowed.of_host.keys().chain(self.of_hosts.keys());
        hosts.any(|host| {
            let most = narrowed.of(host);
            most < want.of(host) && taken(host) >= most
        })
    }
}

impl Wanted {
    pub(crate) fn new(want: &Want) -> Self {
        let all = want.deliveries;
        // No host needs a larger limit than the total.
        let of = |number: usize| to_i64(number.min(all));
        let hosts = want.of_host.iter();
        let (hosts, numbers) = hosts
            .map(|(host, number)| (host.as_str().to_owned(), of(*number)))
            .unzip();
        Self {
            hosts,
            numbers,
            others: of(want.of_other_hosts),
            all: to_i64(all),
        }
    }
}
