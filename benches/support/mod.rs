//! What both benches share.

pub(crate) mod args;
pub(crate) mod child;
pub(crate) mod cpu;
pub(crate) mod handwritten;
pub(crate) mod report;
pub(crate) mod rounds;
