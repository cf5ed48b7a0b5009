//! How fast deliveries are, end to end: a request through the layer, its response read, the
//! webhook taken by a receiver in a process of its own.
//!
//! `cargo bench --bench throughput [-- [--quick] [FIGURE]...]`
//!
//! Not on criterion or divan: they measure one thing after the other, and what counts here is two
//! things side by side, in turns, on a machine that may have other work to do.

#[path = "support/exporter.rs"]
mod exporter;
mod support;

/// The measurements, and what they are measured against.
mod throughput {
    pub(crate) mod deliveries;
    pub(crate) mod endpoints;
    pub(crate) mod latency;
    pub(crate) mod measured;
    pub(crate) mod memory;
    pub(crate) mod peer;
    mod preemption;
    pub(crate) mod receiver;
    pub(crate) mod signing;
    pub(crate) mod window;
}

use support::{args::Args, report::Report};
use throughput::{deliveries, latency, measured, memory, receiver, signing};

fn main() {
    let args = Args::read();
    match args.role() {
        Some(receiver::ROLE) => return receiver::serve(),
        Some(role) if memory::ROLES.contains(&role) => return memory::weigh(role),
        _ => {}
    }
    let mut report = Report::default();
    if args.wants(signing::FIGURES) {
        signing::measure(&args, &mut report);
    }
    if args.wants(memory::FIGURES) {
        memory::measure(&args, &mut report);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        deliveries::measure(&args, &mut report).await;
        latency::measure(&args, &mut report).await;
        measured::measure(&args, &mut report).await;
    });
    report.finish();
}
