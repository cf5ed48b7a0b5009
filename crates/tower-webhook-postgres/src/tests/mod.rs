//! Tests of internals: query plans, and what several processes do at once.

mod plans;
#[path = "../../tests/support/mod.rs"]
mod support;
mod trimming;
