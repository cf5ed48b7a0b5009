//! The dispatcher through the layer, with a client that the test holds the strings of.

mod admission;
mod away;
mod dead_letters;
mod faults;
mod forwarding;
mod held;
mod history;
mod left_to_others;
mod outboxes;
mod parking;
mod runtimes;
mod settling;
mod shutdown;
mod waking;
mod world;
