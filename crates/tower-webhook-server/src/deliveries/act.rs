use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    process::ExitCode,
    time::SystemTime,
};

use indicatif::{ProgressBar, ProgressStyle};
use tower_webhook::{
    BoxError, DeliveryId, Dispatcher,
    outbox::{DeliveryFilter, DeliveryState, Page},
};

use super::{
    Common, close,
    filter::{FilterArgs, delivery_id},
};

#[derive(Debug, clap::Args)]
pub(super) struct ActArgs {
    /// These deliveries; without any, all that the options let through
    #[arg(value_name = "ID", value_parser = delivery_id)]
    ids: Vec<DeliveryId>,

    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    which: FilterArgs,

    /// Do it without asking
    #[arg(long)]
    yes: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Redeliver,
    Cancel,
}

impl Act {
    /// Whether it can be done to what is in this state.
    fn check(self, state: DeliveryState) -> Result<(), &'static str> {
        use DeliveryState::{Running, Waiting};
        match (self, state) {
            (Self::Cancel, Waiting) => Ok(()),
            (Self::Cancel, _) => Err("only what waits can be given up"),
            (Self::Redeliver, Waiting | Running) => Err("what waits or runs cannot be redelivered"),
            (Self::Redeliver, _) => Ok(()),
        }
    }

    /// Where a receiver may have had it already. Of those not every payload is kept.
    fn warning(self, state: DeliveryState) -> Option<&'static str> {
        match (self, state) {
            (Self::Redeliver, DeliveryState::Delivered) => {
                Some("They were delivered already: their receivers get them once more.")
            }
            (Self::Redeliver, DeliveryState::Failed) => {
                Some("Where a failure notice was taken, its receiver gets it once more.")
            }
            _ => None,
        }
    }

    /// Those that it is about, unless it is said otherwise.
    fn state(self) -> DeliveryState {
        match self {
            Self::Redeliver => DeliveryState::Dead,
            Self::Cancel => DeliveryState::Waiting,
        }
    }

    fn question(self) -> &'static str {
        match self {
            Self::Redeliver => "Deliver them again?",
            Self::Cancel => "Give them up?",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Redeliver => "are due again",
            Self::Cancel => "are given up",
        }
    }
}

pub(super) async fn run(args: ActArgs, act: Act) -> Result<ExitCode, BoxError> {
    if !args.ids.is_empty() && !args.which.is_empty() {
        return Err("give either ids, or options that say which".into());
    }
    let state = args.which.state.unwrap_or(act.state());
    act.check(state)?;
    let dispatcher = args.common.dispatcher().await?;
    let done = match args.ids.is_empty() {
        true => all(&dispatcher, &args, state, act).await?,
        false => some(&dispatcher, &args.ids, act).await,
    };
    if let Some(number) = done.number {
        let _ = match io::stdout().is_terminal() && !args.common.json {
            true => writeln!(io::stdout(), "{number} {}", act.done()),
            false => writeln!(io::stdout(), "{{\"deliveries\":{number}}}"),
        };
    }
    close(&dispatcher).await;
    done.ended
}

/// What has come of it.
struct Done {
    /// How many it was done to; `None` where nobody wanted it.
    number: Option<usize>,
    ended: Result<ExitCode, BoxError>,
}

impl Done {
    fn with(number: usize) -> Self {
        Self {
            number: Some(number),
            ended: Ok(ExitCode::SUCCESS),
        }
    }
}

/// One after the other, up to an error.
async fn some(dispatcher: &Dispatcher, ids: &[DeliveryId], act: Act) -> Done {
    let bar = ProgressBar::new(ids.len() as u64);
    let mut number = 0;
    let mut ended = Ok(ExitCode::SUCCESS);
    for &id in ids {
        let one = DeliveryFilter::new().with_id(id);
        let is_done = match act {
            Act::Redeliver => dispatcher.redeliver(id).await,
            Act::Cancel => dispatcher.cancel(&one).await.map(|number| number > 0),
        };
        match is_done {
            Ok(true) => number += 1,
            Ok(false) => {
                bar.suspend(|| eprintln!("{id}: nothing to be done"));
                ended = Ok(ExitCode::FAILURE);
            }
            Err(error) => {
                ended = Err(error);
                break;
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Done {
        number: Some(number),
        ended,
    }
}

/// All that are meant, once that is what is wanted: their number is shown first.
async fn all(
    dispatcher: &Dispatcher,
    args: &ActArgs,
    state: DeliveryState,
    act: Act,
) -> Result<Done, BoxError> {
    let mut filter = args.which.filter().with_state(state);
    if !args.yes {
        // What comes later is not counted and not meant.
        let now = SystemTime::now();
        filter = filter
            .clone()
            .accepted_before(filter.before().map_or(now, |before| before.min(now)));
        let number = count(dispatcher, &filter).await?;
        match act.warning(state) {
            Some(warning) => {
                eprintln!("at most {number} deliveries, those whose payload is still kept");
                eprintln!("{warning}");
            }
            None => eprintln!("{number} deliveries"),
        }
        if number == 0 {
            return Ok(Done::with(0));
        }
        if !is_wanted(act)? {
            return Ok(Done {
                number: None,
                ended: Ok(ExitCode::FAILURE),
            });
        }
    }
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    let number = match act {
        Act::Redeliver => dispatcher.redeliver_all(&filter).await?,
        Act::Cancel => dispatcher.cancel(&filter).await?,
    };
    bar.finish_and_clear();
    Ok(Done::with(number))
}

/// Up to an empty page: a row that cannot be read is missing on any other.
async fn count(dispatcher: &Dispatcher, filter: &DeliveryFilter) -> Result<usize, BoxError> {
    const PAGE: usize = 1_000;
    let style = ProgressStyle::with_template("{spinner} {pos} deliveries")?;
    let bar = ProgressBar::no_length().with_style(style);
    let (mut number, mut page) = (0, Page::first(PAGE));
    loop {
        let found = dispatcher.deliveries(filter, page).await?;
        let Some(last) = found.last() else { break };
        page = page.after(last.id);
        number += found.len();
        bar.set_position(number as u64);
    }
    bar.finish_and_clear();
    Ok(number)
}

/// Nobody can be asked who is no person: then it takes `--yes`.
fn is_wanted(act: Act) -> Result<bool, BoxError> {
    if !io::stdin().is_terminal() {
        return Err("nobody can be asked here: --yes does it".into());
    }
    eprint!("{} [y/N] ", act.question());
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tower_webhook::outbox::{
        DueDeliveries, Durability, Lease, Limits, NewDelivery, Outbox, Sealing, SettleOutcome,
        Settlement, StoredDelivery, Want,
    };

    use super::*;

    /// It goes away once it has given one up.
    #[derive(Default)]
    struct Leaving {
        is_away: AtomicBool,
    }

    impl Outbox for Leaving {
        fn limits(&self) -> Limits {
            Limits::new(Durability::Memory)
        }

        fn sealing(&self) -> Sealing {
            Sealing::in_memory()
        }

        async fn insert(&self, _: Vec<NewDelivery>) -> Result<Vec<Option<Lease>>, BoxError> {
            Err("it takes nothing".into())
        }

        async fn fetch(&self, _: Want) -> Result<DueDeliveries, BoxError> {
            Ok(DueDeliveries::default())
        }

        async fn settle(&self, _: Vec<Settlement>) -> Result<Vec<SettleOutcome>, BoxError> {
            Ok(Vec::new())
        }

        async fn renew(&self, _: Vec<Lease>) -> Result<Vec<Lease>, BoxError> {
            Ok(Vec::new())
        }

        async fn close(&self) -> Result<Vec<StoredDelivery>, BoxError> {
            Ok(Vec::new())
        }

        async fn cancel(&self, _: DeliveryFilter) -> Result<usize, BoxError> {
            match self.is_away.swap(true, Ordering::SeqCst) {
                true => Err("it is away".into()),
                false => Ok(1),
            }
        }
    }

    #[tokio::test]
    async fn what_was_done_before_an_error_is_told() {
        let dispatcher = Dispatcher::builder()
            .with_outbox(Leaving::default())
            .build();
        let ids = [DeliveryId::fresh(), DeliveryId::fresh()];
        let done = some(&dispatcher, &ids, Act::Cancel).await;
        assert_eq!(done.number, Some(1));
        assert_eq!(done.ended.unwrap_err().to_string(), "it is away");
    }
}
