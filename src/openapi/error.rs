use std::fmt;

/// Why a document could not be patched. It is then as it was before.
///
/// [`Display`](fmt::Display) names the place in the document, as a JSON pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenApiError {
    kind: OpenApiErrorKind,
    detail: String,
}

/// What is wrong with a document: see [`OpenApiError::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OpenApiErrorKind {
    /// It has no `openapi` field that is a text, so it is no OpenAPI document.
    NotOpenApi,
    /// It is OpenAPI, but not 3.1: 2.0 (Swagger), 3.0, or a version after 3.1.
    UnsupportedVersion,
    /// A part of it has another type than OpenAPI says, such as a list where an object belongs.
    Malformed,
    /// A `$ref` names something inside the document that is not there, or leads back to itself.
    BrokenReference,
}

impl OpenApiError {
    pub(super) fn new(kind: OpenApiErrorKind, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { kind, detail }
    }

    pub(super) fn malformed(place: &str, expected: &str) -> Self {
        Self::new(
            OpenApiErrorKind::Malformed,
            format!("{place} is not {expected}"),
        )
    }

    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> OpenApiErrorKind {
        self.kind
    }
}

impl fmt::Display for OpenApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = &self.detail;
        match self.kind {
            OpenApiErrorKind::NotOpenApi => {
                f.write_str("not an OpenAPI document: it has no field `openapi`")
            }
            OpenApiErrorKind::UnsupportedVersion => {
                write!(f, "the document is OpenAPI {detail}, and 3.1 is needed")
            }
            OpenApiErrorKind::Malformed => write!(f, "malformed OpenAPI document: {detail}"),
            OpenApiErrorKind::BrokenReference => {
                write!(f, "the reference {detail} leads nowhere in the document")
            }
        }
    }
}

impl std::error::Error for OpenApiError {}
