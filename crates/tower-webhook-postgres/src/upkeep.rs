use std::time::Duration;

use crate::{
    bounds::{DEAD, HISTORY, Keeper},
    thread::Settings,
    transaction::Transactions,
};

/// Periodic work: enforces the limits of dead letters and history, in batches.
pub(crate) struct Upkeep {
    dead: Keeper,
    history: Keeper,
}

/// The shortest and the longest time between two runs.
const REST: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_secs(60);

impl Upkeep {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            dead: Keeper::new(DEAD, settings.dead_letters),
            history: Keeper::new(HISTORY, settings.history.bounds),
        }
    }

    /// Notes that a table may have grown.
    pub(crate) fn note(&mut self, has_ended: bool, has_died: bool) {
        if has_ended {
            self.history.has_grown();
        }
        if has_died {
            self.dead.has_grown();
        }
    }

    /// Failures are logged and retried by the next run.
    pub(crate) async fn run(&mut self, transactions: &Transactions) {
        for keeper in [&mut self.dead, &mut self.history] {
            if let Err(error) = keeper.run_if_due(transactions).await {
                tracing::warn!(%error, "the PostgreSQL outbox could not be looked after");
            }
        }
    }

    pub(crate) async fn rest(&self) {
        tokio::time::sleep(REST).await;
    }

    /// The longest time until the next run.
    pub(crate) fn pause(&self) -> Duration {
        match self.dead.wants_more() || self.history.wants_more() {
            true => REST,
            false => EVERY,
        }
    }
}
