//! What a receiver does with a webhook.

use axum::http::StatusCode;
use serde::Deserialize;

/// As the form sends it.
#[derive(Clone, Deserialize)]
pub(crate) struct Manner {
    pub(crate) does: Does,
    /// What it answers where it answers with a status.
    #[serde(default)]
    pub(crate) status: u16,
    /// How late it answers, in seconds.
    #[serde(default)]
    pub(crate) seconds: u8,
    /// For so many attempts; it takes later ones.
    #[serde(default)]
    pub(crate) attempts: u32,
    /// What the caller gives, or nothing.
    #[serde(default)]
    pub(crate) secret: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Does {
    Take,
    Status,
    Late,
    Close,
    Certificate,
    Secret,
}

/// What comes of one attempt.
pub(crate) enum Step {
    Answer(StatusCode),
    AnswerAfter(u8),
    Close,
}

impl Manner {
    /// `None` where there is no such status.
    pub(crate) fn checked(self) -> Option<Self> {
        let is_status = (200..=599).contains(&self.status);
        (self.does != Does::Status || is_status).then_some(self)
    }

    /// What the receiver verifies with; `None` where the call has no secret.
    pub(crate) fn own_secret(&self) -> Option<String> {
        let own = match self.does {
            Does::Secret => format!("not {}", self.secret),
            _ => self.secret.clone(),
        };
        (!self.secret.is_empty()).then_some(own)
    }

    pub(crate) fn step(&self, attempt: u32) -> Step {
        let is_over = attempt > self.attempts;
        match self.does {
            Does::Status if !is_over => {
                Step::Answer(StatusCode::from_u16(self.status).unwrap_or_default())
            }
            Does::Late if !is_over => Step::AnswerAfter(self.seconds),
            Does::Close if !is_over => Step::Close,
            _ => Step::Answer(StatusCode::NO_CONTENT),
        }
    }
}
