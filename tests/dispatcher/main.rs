//! The dispatcher through the layer, with a client that the test holds the strings of.

mod admission;
mod away;
mod dead_letters;
mod faults;
mod forwarding;
mod gauges;
mod held;
mod history;
mod left_to_others;
mod metrics;
mod outboxes;
mod parking;
mod runtimes;
mod settling;
mod shutdown;
mod waking;
mod world;

#[path = "../support/recorder.rs"]
mod recorder;
