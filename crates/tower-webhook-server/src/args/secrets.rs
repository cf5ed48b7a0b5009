//! What is typed wrong is repeated in the complaint, and complaints go into logs.

use clap::{
    Error,
    error::{ContextKind, ContextValue},
};

/// What may have a password or a token in it.
const SECRET: [&str; 4] = ["--outbox ", "--forward ", "--header ", "--upstream "];

/// The complaint without a value that may be a secret, or that is a URL of a user wherever it was put.
pub(crate) fn without_secrets(mut error: Error) -> Error {
    let text = |error: &Error, kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let option = text(&error, ContextKind::InvalidArg).unwrap_or_default();
    let is_of_secret = SECRET.iter().any(|secret| option.starts_with(secret));
    for kind in [
        ContextKind::InvalidArg,
        ContextKind::InvalidSubcommand,
        ContextKind::InvalidValue,
    ] {
        let is_value = kind == ContextKind::InvalidValue;
        let is_secret = |text: &String| (is_of_secret && is_value) || text.contains('@');
        if text(&error, kind).as_ref().is_some_and(is_secret) {
            error.insert(kind, ContextValue::String("…".to_owned()));
        }
    }
    error
}
