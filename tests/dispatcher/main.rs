//! The dispatcher through the layer, with a client that the test holds the strings of.

mod admission;
mod at_once;
mod dead_letters;
mod faults;
mod late;
mod runtime;
mod shutdown;
mod world;
