use std::{
    io::{self, BufWriter, IsTerminal as _, Write},
    process::ExitCode,
};

use tower_webhook::{
    BoxError, DeliveryId,
    outbox::{DeliveryRecord, Page},
};

use super::{
    Common, close,
    filter::{FilterArgs, delivery_id},
    text::{HEADINGS, json, row},
};
use crate::args::number;

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    common: Common,

    #[command(flatten)]
    which: FilterArgs,

    /// How many at most
    #[arg(long, value_name = "NUMBER", default_value = "50", value_parser = number)]
    limit: usize,

    /// Those that come after this one in the list: older ones
    #[arg(long, value_name = "ID", value_parser = delivery_id)]
    after: Option<DeliveryId>,
}

/// What is asked for at once.
const PAGE: usize = 500;

pub(super) async fn run(args: ListArgs) -> Result<ExitCode, BoxError> {
    let dispatcher = args.common.dispatcher().await?;
    let filter = args.which.filter();
    let is_table = io::stdout().is_terminal() && !args.common.json;
    let mut out = BufWriter::new(io::stdout());
    let (mut left, mut after) = (args.limit, args.after);
    let mut is_first = true;
    while left > 0 {
        let page = Page::first(left.min(PAGE));
        let page = after.map_or(page, |last| page.after(last));
        let records = dispatcher.deliveries(&filter, page).await?;
        let Some(last) = records.last() else { break };
        after = Some(last.id);
        left = left.saturating_sub(records.len());
        let written = match is_table {
            true => table(&mut out, &records, std::mem::take(&mut is_first)),
            false => lines(&mut out, &records),
        };
        // Whoever reads may have had enough.
        if written.is_err() {
            break;
        }
    }
    let _ = out.flush();
    close(&dispatcher).await;
    Ok(ExitCode::SUCCESS)
}

fn lines(out: &mut impl Write, records: &[DeliveryRecord]) -> io::Result<()> {
    records
        .iter()
        .try_for_each(|record| writeln!(out, "{}", json(record)))
}

fn table(out: &mut impl Write, records: &[DeliveryRecord], headed: bool) -> io::Result<()> {
    let headings = headed.then(|| HEADINGS.map(str::to_owned));
    let rows: Vec<_> = headings
        .into_iter()
        .chain(records.iter().map(row))
        .collect();
    let mut widths = [0; HEADINGS.len()];
    for row in &rows {
        for (width, column) in widths.iter_mut().zip(row) {
            *width = column.chars().count().max(*width);
        }
    }
    for row in &rows {
        let columns = row.iter().zip(widths);
        let padded = columns.map(|(column, width)| format!("{column:width$}"));
        let line = padded.collect::<Vec<_>>().join("  ");
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
