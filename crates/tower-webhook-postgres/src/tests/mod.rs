//! Tests of internals: query plans.

mod plans;
#[path = "../../tests/support/mod.rs"]
mod support;
