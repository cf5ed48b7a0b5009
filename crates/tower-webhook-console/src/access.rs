use std::{fmt, sync::Arc};

use http::request::Parts;

type Check = Arc<dyn Fn(&Parts) -> bool + Send + Sync>;

/// Who may open the console. It is said where the console is made, so that nobody forgets it.
///
/// ```
/// use tower_webhook_console::Access;
///
/// let nobody_else = Access::left_to_others(); // a layer around it asks who it is
/// let by_header = Access::check(|request| request.headers.contains_key("x-operator"));
/// ```
#[derive(Clone)]
pub struct Access {
    check: Option<Check>,
}

impl Access {
    /// Whatever is around the console lets in only those who may see every host, id and payload.
    ///
    /// Mounted without a layer that authenticates, the console is then open to everybody.
    #[must_use]
    pub fn left_to_others() -> Self {
        Self { check: None }
    }

    /// Only requests that pass this check. All others are answered with 403.
    ///
    /// It is asked for every request: the page, each part of its data, each action. An open event stream
    /// ends after 30 seconds and is asked for again, so whoever loses the right loses the stream. It runs
    /// on the way of the request and must not block.
    #[must_use]
    pub fn check(may_enter: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        Self {
            check: Some(Arc::new(may_enter)),
        }
    }

    pub(crate) fn permits(&self, head: &Parts) -> bool {
        self.check.as_ref().is_none_or(|check| check(head))
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.check {
            Some(_) => "Access::check",
            None => "Access::left_to_others",
        })
    }
}
