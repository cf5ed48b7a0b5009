//! What becomes of leased deliveries, and the heartbeat.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::jetstream::AckKind;
use futures_util::future::join_all;
use tokio::time::timeout;
use tower_webhook::outbox::{Lease, SettleOutcome, Settlement, Verdict};

use crate::{
    JetStreamOutboxError, JetStreamOutboxErrorKind as Kind,
    dead::{self, Death},
    engine::{Engine, Settings},
    leases::{Found, Held},
};

/// What comes earlier than it is due is handed back once more: the server need not know longer delays.
pub(crate) const LONGEST_DELAY: Duration = Duration::from_secs(24 * 3_600);

/// When a delivery is attempted again, at the earliest, where there is no room to write how its attempt ended.
const AGAIN_IN: Duration = Duration::from_secs(60);

/// A server that has no room takes what frees some: as long as deliveries end, there will be room again. `None`
/// where it has none.
fn unless_full<T>(
    written: Result<T, JetStreamOutboxError>,
) -> Result<Option<T>, JetStreamOutboxError> {
    match written {
        Ok(written) => Ok(Some(written)),
        Err(error) if error.kind() == Kind::Full => {
            tracing::error!(%error, "how an attempt ended cannot be written: there will be one more");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn again_in(delay: Duration) -> AckKind {
    AckKind::Nak(Some(delay.min(LONGEST_DELAY)).filter(|delay| !delay.is_zero()))
}

impl Engine {
    /// What is settled in a batch of which something else fails is remembered as settled: the batch comes
    /// again.
    pub(crate) async fn settle(
        self: &Arc<Self>,
        batch: Vec<Settlement>,
    ) -> Result<Vec<SettleOutcome>, JetStreamOutboxError> {
        let settled = batch.iter().map(|settlement| self.settle_one(settlement));
        let settled: Result<Vec<_>, _> = join_all(settled).await.into_iter().collect();
        let settled = match settled {
            Ok(settled) => settled,
            Err(error) => {
                self.rebuild_after(&error).await;
                return Err(error);
            }
        };
        for settlement in &batch {
            self.leases.forget(settlement.lease);
        }
        Ok(settled)
    }

    async fn settle_one(
        self: &Arc<Self>,
        settlement: &Settlement,
    ) -> Result<SettleOutcome, JetStreamOutboxError> {
        let lease = settlement.lease;
        let held = match self.leases.find(lease) {
            Found::Held(held) => held,
            Found::Settled => return Ok(SettleOutcome::Done),
            Found::Lost => return Ok(SettleOutcome::LeaseLost),
        };
        match settlement.verdict {
            Verdict::Delivered | Verdict::Failed(_) | Verdict::Forgotten => {
                self.end(lease, &held).await?;
            }
            Verdict::Released => self.hand_back_leased(&held, AckKind::Nak(None)).await,
            Verdict::PutOff(delay) => self.hand_back_leased(&held, again_in(delay)).await,
            Verdict::AgainIn(delay) => {
                // In this order: what is handed back without its number is the same attempt again.
                let noted = self.note_attempt(lease.delivery, held.attempt, delay).await;
                let delay = match unless_full(noted)? {
                    Some(()) => delay,
                    None => delay.max(AGAIN_IN),
                };
                self.hand_back_leased(&held, again_in(delay)).await;
            }
            Verdict::Dead(outcome) => {
                let death = Death {
                    outcome,
                    attempts: held.attempt,
                };
                let Settings {
                    name,
                    timeout: time,
                    ..
                } = &self.settings;
                let buried = dead::bury(&self.context, name, held.sequence, Some(death));
                // In this order: what is acknowledged is gone.
                let buried = timeout(2 * *time, buried).await;
                let buried = unless_full(buried.map_err(|_| Kind::TimedOut)?)?;
                let is_buried = match buried {
                    Some(was_there) => {
                        self.end(lease, &held).await?;
                        was_there
                    }
                    None => {
                        let later = AckKind::Nak(Some(AGAIN_IN));
                        self.hand_back_leased(&held, later).await;
                        false
                    }
                };
                if !is_buried {
                    self.leases.forget(lease);
                    return Ok(SettleOutcome::LeaseLost);
                }
            }
        }
        self.leases.settled(lease);
        Ok(SettleOutcome::Done)
    }

    /// Once, whatever the answer: the server may have heard it, and somebody else may have the message by now,
    /// whose lease it would end if it came again. What was not heard comes after the lease.
    async fn hand_back_leased(&self, held: &Held, kind: AckKind) {
        if let Err(error) = self.answer(&held.reply, kind).await {
            tracing::debug!(%error, "a message that is handed back may come after its lease only");
        }
    }

    async fn end(self: &Arc<Self>, lease: Lease, held: &Held) -> Result<(), JetStreamOutboxError> {
        self.answer(&held.reply, AckKind::Ack).await?;
        if held.attempt > 1 {
            let engine = Arc::clone(self);
            tokio::spawn(async move { engine.forget_attempt(lease.delivery).await });
        }
        Ok(())
    }

    /// Gives those that are lost.
    pub(crate) async fn renew(
        &self,
        leases: Vec<Lease>,
    ) -> Result<Vec<Lease>, JetStreamOutboxError> {
        let renewed = leases
            .iter()
            .map(async |&lease| match self.leases.find(lease) {
                Found::Lost => Ok(Some(lease)),
                Found::Settled => Ok(None),
                Found::Held(held) => {
                    let at = Instant::now();
                    self.answer(&held.reply, AckKind::Progress).await?;
                    self.leases.renewed(lease, at);
                    Ok(None)
                }
            });
        let mut lost = Vec::new();
        let mut failure: Option<JetStreamOutboxError> = None;
        for renewed in join_all(renewed).await {
            match renewed {
                Ok(found) => lost.extend(found),
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            // Those that are lost are so the next time, too.
            Some(error) => Err(error),
            None => Ok(lost),
        }
    }

    /// Hands back what was leased for somebody who does not wait for it any more.
    pub(crate) async fn release(&self, leases: impl Iterator<Item = Lease>) {
        let back = leases.map(async |lease| {
            if let Found::Held(held) = self.leases.find(lease) {
                self.hint(held.reply, AckKind::Nak(None)).await;
            }
            self.leases.forget(lease);
        });
        join_all(back.collect::<Vec<_>>()).await;
    }
}
