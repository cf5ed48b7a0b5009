use std::{fmt, sync::Arc};

use http::request::Parts;

type Check = Arc<dyn Fn(&Parts) -> bool + Send + Sync>;

/// Who may open the console. [`console`](crate::console) takes it, so that nobody forgets to decide.
///
/// ```
/// use tower_webhook_console::Access;
///
/// let by_a_layer = Access::left_to_others(); // a layer around the console authenticates
/// let by_header = Access::check(|request| request.headers.contains_key("x-operator"));
/// ```
#[derive(Clone)]
pub struct Access {
    check: Option<Check>,
}

impl Access {
    /// A layer around the console lets in only those who may see every host, id and payload.
    ///
    /// Without such a layer the console is open to everybody.
    #[must_use]
    pub fn left_to_others() -> Self {
        Self { check: None }
    }

    /// Only requests that pass this check. All others are answered with 403.
    ///
    /// It is called for every request: the page, its data, and each action. An event stream ends after
    /// 30 seconds and the next one is checked again, so a revoked right takes effect. It runs on the way of
    /// the request and must not block.
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
