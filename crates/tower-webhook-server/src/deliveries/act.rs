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
    let number = match args.ids.is_empty() {
        true => all(&dispatcher, &args, state, act).await?,
        false => some(&dispatcher, &args.ids, act).await?,
    };
    if let Some(number) = number {
        let _ = match io::stdout().is_terminal() && !args.common.json {
            true => writeln!(io::stdout(), "{number} {}", act.done()),
            false => writeln!(io::stdout(), "{{\"deliveries\":{number}}}"),
        };
    }
    close(&dispatcher).await;
    Ok(match number {
        Some(_) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    })
}

/// One after the other.
async fn some(
    dispatcher: &Dispatcher,
    ids: &[DeliveryId],
    act: Act,
) -> Result<Option<usize>, BoxError> {
    let bar = ProgressBar::new(ids.len() as u64);
    let mut number = 0;
    for &id in ids {
        let is_done = match act {
            Act::Redeliver => dispatcher.redeliver(id).await?,
            Act::Cancel => {
                dispatcher
                    .cancel(&DeliveryFilter::new().with_id(id))
                    .await?
                    > 0
            }
        };
        if !is_done {
            bar.suspend(|| eprintln!("{id}: nothing to be done"));
        }
        number += usize::from(is_done);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(Some(number))
}

/// All that are meant, once that is what is wanted: their number is shown first.
async fn all(
    dispatcher: &Dispatcher,
    args: &ActArgs,
    state: DeliveryState,
    act: Act,
) -> Result<Option<usize>, BoxError> {
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
            return Ok(Some(0));
        }
        if !is_wanted(act)? {
            return Ok(None);
        }
    }
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(std::time::Duration::from_millis(100));
    let number = match act {
        Act::Redeliver => dispatcher.redeliver_all(&filter).await?,
        Act::Cancel => dispatcher.cancel(&filter).await?,
    };
    bar.finish_and_clear();
    Ok(Some(number))
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
