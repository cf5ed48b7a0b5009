use std::{
    io::{self, IsTerminal as _, Write},
    process::ExitCode,
};

use tower_webhook::{BoxError, DeliveryId, outbox::DeliveryRecord};

use super::{
    Common, close,
    filter::delivery_id,
    text::{harmless, host, json, outcome, time, took},
};

#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// The delivery's id
    #[arg(value_name = "ID", value_parser = delivery_id)]
    id: DeliveryId,

    #[command(flatten)]
    common: Common,

    /// Its payload instead, where it is kept: byte for byte, but on a terminal, where control characters
    /// are escaped
    #[arg(long)]
    payload: bool,
}

pub(super) async fn run(args: ShowArgs) -> Result<ExitCode, BoxError> {
    let dispatcher = args.common.dispatcher().await?;
    let mut out = io::stdout().lock();
    // A pipe whose reader has had enough is no error.
    if args.payload {
        let payload = dispatcher.payload(args.id).await?;
        let payload = payload.ok_or_else(|| format!("the payload of {} is not kept", args.id))?;
        let mut segments = payload.segments();
        let _ = match io::stdout().is_terminal() {
            true => out.write_all(harmless(&segments.collect::<Vec<_>>().concat()).as_bytes()),
            false => segments.try_for_each(|segment| out.write_all(segment)),
        };
    } else {
        let record = dispatcher.delivery(args.id).await?;
        let record = record.ok_or_else(|| format!("there is no delivery {}", args.id))?;
        let _ = match io::stdout().is_terminal() && !args.common.json {
            true => people(&mut out, &record),
            false => writeln!(out, "{}", json(&record)),
        };
    }
    let _ = out.flush();
    drop(out);
    close(&dispatcher).await;
    Ok(ExitCode::SUCCESS)
}

fn people(out: &mut impl Write, record: &DeliveryRecord) -> io::Result<()> {
    writeln!(out, "delivery    {}", record.id)?;
    writeln!(out, "request     {}", record.request_id.as_str())?;
    writeln!(out, "state       {}", record.state.name())?;
    writeln!(out, "host        {}", host(record))?;
    writeln!(out, "accepted    {}", time(record.accepted_at))?;
    if let Some(status) = record.status {
        writeln!(out, "response    {}", status.as_u16())?;
    }
    if let Some(failure) = record.failure {
        writeln!(out, "failure     {}", failure.name())?;
    }
    writeln!(out, "payload     {} bytes", record.payload_len)?;
    for attempt in &record.attempts {
        writeln!(
            out,
            "attempt {:<3} {}  {}  {}",
            attempt.attempt,
            time(attempt.at),
            outcome(attempt.outcome),
            took(attempt.took),
        )?;
    }
    Ok(())
}
