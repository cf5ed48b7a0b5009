//! What the layer makes of a response: the caller gets it unchanged, and each accepted webhook
//! ends in exactly one way.

mod exchange;
mod hints;
mod known_length;
mod limit;
mod memory;
mod notices;
mod outcomes;
mod responses;
mod streaming;
mod tunnels;
mod wire;

#[path = "../support/mod.rs"]
mod support;
