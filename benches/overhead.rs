//! What the layer costs a request: in process, and over loopback.
//!
//! `cargo bench --bench overhead [-- [--quick] [FIGURE]...]`
//!
//! Not on criterion or divan: they measure one thing after the other, and what counts here is two
//! things side by side, in turns, on a machine that may have other work to do.

mod support;

/// The measurements, by what they look at.
mod overhead {
    pub(crate) mod apps;
    pub(crate) mod awake;
    pub(crate) mod check;
    pub(crate) mod copied;
    mod exchange;
    pub(crate) mod passthrough;
    pub(crate) mod wire;
}

use overhead::{apps, awake, check, copied, passthrough, wire};
use support::{args::Args, report::Report};

fn main() {
    let args = Args::read();
    match args.role() {
        Some(awake::ROLE) => return awake::serve(),
        Some(role) => return apps::serve(role),
        None => {}
    }
    let mut report = Report::default();
    if args.wants(passthrough::FIGURES) {
        passthrough::measure(&args, &mut report);
    }
    if args.wants(check::FIGURES) {
        check::measure(&args, &mut report);
    }
    if args.wants(copied::FIGURES) {
        copied::measure(&mut report);
    }
    if args.wants(wire::RATES) {
        wire::rates(&args, &mut report);
    }
    if args.wants(wire::LATENCIES) {
        wire::latencies(&args, &mut report);
    }
    report.finish();
}
