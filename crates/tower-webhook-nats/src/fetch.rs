//! What is due, as far as [`Want`] goes.
//!
//! The stream gives what has waited for the longest, for whatever host. Of what is for a host without a
//! permit, some lies here until there is one; the rest is handed back and comes again after a delay, and
//! what is behind it is looked at.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use async_nats::{Subject, jetstream::AckKind};
use futures_util::future::join_all;
use tokio::time::timeout;
use tower_webhook::{
    endpoint::Host,
    outbox::{DueDeliveries, LeasedDelivery, Want},
};

use crate::{
    JetStreamOutboxError, JetStreamOutboxErrorKind as Kind,
    attempts::NextAttempt,
    engine::{Engine, Pulling, deadline},
    insert::HEARD,
    pull::Pulled,
};

/// So many are looked at in one call, for hosts with permits behind those without.
const LOOKS: usize = 1_024;
/// So many at once, where some have come that are not wanted.
const LOOK: usize = 256;
/// A message that is older may have had an attempt of which a restarted server does not know.
const YOUNG: Duration = Duration::from_secs(5);
/// What has lain here for this part of its lease is renewed before it is handed out: the first renewal may come a
/// third of the lease later, while a cluster chooses another leader.
const OLD: u32 = 6;
/// When a delivery comes again whose attempts could not be looked up.
const UNKNOWN: Duration = Duration::from_secs(1);

/// What one call has found so far.
struct Findings {
    want: Want,
    chosen: Vec<Pulled>,
    of_hosts: HashMap<Host, usize>,
    bytes: usize,
    /// Some have come of a host without a permit.
    has_unwanted: bool,
    /// What is handed back, and when it is to come again.
    parked: Vec<(Subject, Duration)>,
    /// Some have come of a quick host that it has no permits for, and some of that is handed back.
    has_unwanted_of_quick: bool,
    has_parked_of_quick: bool,
}

impl Engine {
    pub(crate) async fn fetch(&self, want: Want) -> Result<DueDeliveries, JetStreamOutboxError> {
        let time = self.settings.timeout;
        let Ok(mut pulling) = timeout(time, self.pulling.lock()).await else {
            return Err(Kind::TimedOut.into());
        };
        let mut findings = Findings::new(want);
        let looked = self.look(&mut findings, &mut pulling, deadline(time)).await;
        let failure = looked.as_ref().err().cloned();
        let is_all = looked.unwrap_or(false);
        let is_empty = is_all && findings.chosen.is_empty() && !findings.has_unwanted;
        self.watch(&mut pulling.watch, is_empty, failure.is_some())
            .await;
        if let Some(error) = failure
            && findings.chosen.is_empty()
        {
            self.hand_back(findings.parked).await;
            return Err(error);
        }
        let mut due = DueDeliveries::default();
        let lies_here = !pulling.ready.is_empty() || !pulling.waiting.is_empty();
        let now = Instant::now();
        let parked = pulling.parked.next(now);
        due.next_due = match (is_all, findings.left()) {
            (true, _) => parked,
            // Whoever has room again asks.
            (false, 0) => None,
            (false, _) => Some(pulling.takers.pause(now)),
        };
        due.more = !is_all || parked.is_some() || lies_here;
        self.hand_back(findings.parked).await;
        drop(pulling);
        let found = findings.chosen.into_iter().map(|one| self.lease_due(one));
        let mut failure = None;
        for found in join_all(found).await {
            match found {
                Ok(found) => due.deliveries.extend(found),
                Err(error) => failure = Some(error),
            }
        }
        let Some(error) = failure else {
            return Ok(due);
        };
        self.rebuild_after(&error).await;
        match due.deliveries.is_empty() {
            true => Err(error),
            false => Ok(due),
        }
    }

    /// Says whether it has seen all that waits.
    async fn look(
        &self,
        findings: &mut Findings,
        pulling: &mut Pulling,
        until: Instant,
    ) -> Result<bool, JetStreamOutboxError> {
        self.hand_back_older_than(self.settings.lease / 3, pulling)
            .await;
        let lay_here = pulling
            .ready
            .take()
            .into_iter()
            .chain(pulling.waiting.take());
        for pulled in lay_here {
            findings.add(pulled, pulling);
        }
        let is_pause = !pulling.takers.pause(Instant::now()).is_zero();
        let (mut looks, mut is_all) = (0, false);
        while let left @ 1.. = findings.left()
            && !is_all
            && looks < LOOKS
            && Instant::now() < until
            && !(is_pause && findings.has_unwanted_of_quick)
        {
            let number = match findings.has_unwanted && !is_pause {
                true => left.max(LOOK),
                false => left,
            };
            let mut batch = self.pull(number, None, until).await?;
            let is_empty = batch.is_all && batch.messages.is_empty();
            if is_empty && looks == 0 && self.has_inserted_within(2 * HEARD) {
                batch = self.pull(1, Some(HEARD), until).await?;
            }
            looks += number;
            for pulled in batch.messages {
                if let Some(pulled) = self.leave_for_insert(pulled) {
                    findings.add(pulled, pulling);
                }
            }
            is_all = batch.is_all;
        }
        if findings.has_parked_of_quick && !is_pause {
            pulling.takers.begin_pause(Instant::now());
        }
        Ok(is_all)
    }

    async fn hand_back(&self, parked: Vec<(Subject, Duration)>) {
        let back = parked
            .into_iter()
            .map(|(reply, delay)| self.hint(reply, AckKind::Nak(Some(delay))));
        join_all(back).await;
    }

    /// As its next attempt; `None` where that is not due yet.
    async fn lease_due(
        &self,
        mut pulled: Pulled,
    ) -> Result<Option<LeasedDelivery>, JetStreamOutboxError> {
        if pulled.at.elapsed() >= self.settings.lease / OLD {
            let at = Instant::now();
            if self.answer(&pulled.reply, AckKind::Progress).await.is_ok() {
                pulled.at = at;
            }
        }
        let may_be_later = pulled.delivered > 1 || pulled.age > YOUNG;
        let next = match may_be_later {
            true => self.next_attempt(pulled.stored.id).await,
            false => Ok(NextAttempt::FIRST),
        };
        let next = match next {
            Ok(next) => next,
            Err(error) => {
                // Not at once: the question would only fail again.
                self.hint(pulled.reply, AckKind::Nak(Some(UNKNOWN))).await;
                return Err(error);
            }
        };
        if let Some(left) = next.is_early(self.clock.now()) {
            let back = AckKind::Nak(Some(left.min(crate::settle::LONGEST_DELAY)));
            self.hint(pulled.reply, back).await;
            return Ok(None);
        }
        Ok(Some(self.hand_out(pulled, next.number)))
    }
}

impl Findings {
    fn new(want: Want) -> Self {
        Self {
            want,
            chosen: Vec::new(),
            of_hosts: HashMap::new(),
            bytes: 0,
            has_unwanted: false,
            parked: Vec::new(),
            has_unwanted_of_quick: false,
            has_parked_of_quick: false,
        }
    }

    /// How many more are wanted.
    fn left(&self) -> usize {
        match self.bytes < self.want.bytes {
            true => self.want.deliveries.saturating_sub(self.chosen.len()),
            false => 0,
        }
    }

    fn add(&mut self, pulled: Pulled, pulling: &mut Pulling) {
        let (host, left) = (&pulled.stored.host, self.left());
        let of_host = self.of_hosts.entry(host.clone()).or_default();
        if *of_host >= self.want.of(host) {
            self.has_unwanted = true;
            let now = Instant::now();
            let is_quick = pulling.takers.is_quick(host, now);
            self.has_unwanted_of_quick |= is_quick;
            if let Some(pulled) = pulling.waiting.push(pulled) {
                self.has_parked_of_quick |= is_quick;
                let is_taker = pulling.takers.is_one(&pulled.stored.host, now);
                let delay = pulling.parked.park(&pulled.stored, is_taker, now);
                self.parked.push((pulled.reply, delay));
            }
        } else if left == 0 {
            pulling.ready.push(pulled);
        } else {
            *of_host += 1;
            pulling.takers.add(host, *of_host, Instant::now());
            self.bytes = self.bytes.saturating_add(pulled.stored.payload.len());
            self.chosen.push(pulled);
        }
    }
}
