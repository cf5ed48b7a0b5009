//! What is typed wrong is repeated in the complaint, and complaints go into logs.

use clap::{
    Error,
    error::{ContextKind, ContextValue},
};

/// What may have a password or a token in it.
const SECRET: [&str; 4] = ["--outbox ", "--forward ", "--header ", "--upstream "];

/// The complaint without a value that may be a secret: one of an option above, a word that belongs to no
/// option, and whatever looks like a URL of a user.
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
        let is_secret = |text: &String| match kind {
            ContextKind::InvalidValue => is_of_secret || text.contains('@'),
            // Part of a value whose quotes were forgotten: no command takes words.
            ContextKind::InvalidArg => !text.starts_with('-') || text.contains('@'),
            _ => text.contains('@'),
        };
        if text(&error, kind).as_ref().is_some_and(is_secret) {
            error.insert(kind, ContextValue::String("…".to_owned()));
        }
    }
    error
}
