//! What cannot be seen from outside: how much the server looks at.

mod plans;
#[path = "../../tests/support/mod.rs"]
mod support;
