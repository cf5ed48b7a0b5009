use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};

use super::{
    SqliteOutboxError,
    claim::SqliteClaim,
    command::{Batch, ClaimRequest, Command, Handle},
    error::gone,
    secrets::Secrets,
};
use crate::{
    BoxError, Host,
    outbox::{Claim, Demand, Source},
};

/// Claims what is due, in groups.
///
/// At most one request is under way. What it brings is kept here, also when
/// [`next`](Source::next) is dropped meanwhile, so no claim is lost.
pub struct SqliteSource {
    handle: Handle,
    secrets: Arc<Secrets>,
    poll: Duration,
    asked: Option<oneshot::Receiver<Result<Batch, SqliteOutboxError>>>,
    ready: VecDeque<SqliteClaim>,
    /// Hosts that may have attempts under way.
    hosts: HashSet<Host>,
    /// Nothing was due: it is of no use to ask again before then,
    rest: Option<Instant>,
    /// unless one of these hosts, which had no room, has some.
    full: HashSet<Host>,
    /// Not everything was looked at: the hosts that were full then may have been passed over.
    more: bool,
}

impl SqliteSource {
    /// `poll` is how often it looks for what other processes have written.
    pub(super) fn new(handle: Handle, secrets: Arc<Secrets>, poll: Duration) -> Self {
        Self {
            handle,
            secrets,
            poll,
            asked: None,
            ready: VecDeque::new(),
            hosts: HashSet::new(),
            rest: None,
            full: HashSet::new(),
            more: false,
        }
    }

    /// What is here and has room.
    fn hand_out(&mut self, demand: Demand<'_>) -> Vec<SqliteClaim> {
        let mut claims: Vec<SqliteClaim> = Vec::new();
        let mut given = HashMap::<Host, usize>::new();
        for claim in std::mem::take(&mut self.ready) {
            let host = claim.delivery().endpoint().host_key();
            let of_host = given.entry(host.clone()).or_default();
            if claims.len() < demand.at_most() && *of_host < demand.room(host) {
                *of_host += 1;
                claims.push(claim);
            } else {
                self.ready.push_back(claim);
            }
        }
        self.hosts.extend(given.into_keys());
        claims
    }

    fn may_ask(&self, demand: Demand<'_>) -> bool {
        let has_room = |host: &Host| !demand.is_full(host);
        self.rest.is_none() || self.full.iter().any(has_room)
    }

    fn ask(&mut self, demand: Demand<'_>) -> Result<(), BoxError> {
        // No host has an empty name: this one has nothing under way.
        let room_elsewhere = demand.room(&Host::from(""));
        self.hosts
            .retain(|host| demand.room(host) != room_elsewhere);
        let mut rooms: HashMap<_, _> = self
            .hosts
            .iter()
            .map(|host| (host.clone(), demand.room(host)))
            .collect();
        for claim in &self.ready {
            rooms.insert(claim.delivery().endpoint().host_key().clone(), 0);
        }
        if !self.more {
            self.full.clear();
        }
        let full = rooms.iter().filter(|(_, room)| **room == 0);
        self.full.extend(full.map(|(host, _)| host.clone()));
        let (reply, answer) = oneshot::channel();
        self.handle.send(Command::Claim(ClaimRequest {
            at_most: demand.at_most(),
            rooms: rooms
                .into_iter()
                .map(|(host, room)| (Arc::clone(host.name()), room))
                .collect(),
            room_elsewhere,
            handle: self.handle.clone(),
            reply,
        }))?;
        self.asked = Some(answer);
        Ok(())
    }

    fn take(&mut self, batch: Batch) {
        self.rest = None;
        self.more = batch.more;
        if batch.claims.is_empty() && !batch.more {
            let wait = batch.next_due.map_or(self.poll, |due| due.min(self.poll));
            self.rest = Some(Instant::now() + wait);
        }
        let secrets = &self.secrets;
        let claims = batch.claims.into_iter();
        self.ready
            .extend(claims.filter_map(|(hold, row)| SqliteClaim::read(hold, row, secrets)));
    }
}

impl Source for SqliteSource {
    type Claim = SqliteClaim;

    async fn next(&mut self, demand: Demand<'_>) -> Result<Vec<SqliteClaim>, BoxError> {
        loop {
            let claims = self.hand_out(demand);
            if !claims.is_empty() {
                return Ok(claims);
            }
            if self.asked.is_none() && self.may_ask(demand) {
                self.ask(demand)?;
            }
            if let Some(answer) = &mut self.asked {
                let batch = answer.await.map_err(|_| gone());
                self.asked = None;
                self.take(batch??);
            } else if let Some(rest) = self.rest {
                tokio::select! {
                    () = self.handle.due.notified() => {}
                    () = sleep_until(rest) => {}
                }
                self.rest = None;
            }
        }
    }

    fn rest(&mut self) {
        self.ready.clear();
        self.asked = None;
        self.rest = None;
    }
}

impl fmt::Debug for SqliteSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteSource")
            .field("ready", &self.ready.len())
            .finish_non_exhaustive()
    }
}
