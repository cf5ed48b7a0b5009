use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Method, Request, Response, request::Parts};
use tower_service::Service;
use tower_webhook::Dispatcher;

use crate::{
    Access, ConsoleBody, ConsoleEvents,
    actions::{self, Action},
    answer::{self, Answer, Refused},
    api, page,
    query::Query,
    summary::Summary,
    token::{self, Token},
};

/// A console for this dispatcher: a service to be nested under any router. It is read-only.
///
/// Whoever may open it sees every endpoint's host, every id and every payload that is kept: [`Access`] says
/// who that is.
///
/// ```
/// use axum::Router;
/// use tower_webhook::Dispatcher;
/// use tower_webhook_console::{Access, console};
///
/// let dispatcher = Dispatcher::new();
/// let operators = Access::check(|request| {
///     request.headers.get("x-role").is_some_and(|role| role == "operator")
/// });
/// let app: Router = Router::new().nest_service("/webhooks", console(&dispatcher, operators));
/// ```
#[must_use]
pub fn console(dispatcher: &Dispatcher, access: Access) -> Console {
    Console {
        dispatcher: dispatcher.clone(),
        access,
        events: None,
        token: None,
        summary: Summary::default(),
    }
}

/// The service that [`console`] makes. Cheap to clone.
///
/// It routes by the path that is left once a router has stripped its prefix, and ignores request bodies.
/// It never fails: what goes wrong is an answer.
#[derive(Clone)]
pub struct Console {
    dispatcher: Dispatcher,
    access: Access,
    events: Option<ConsoleEvents>,
    /// What an action has to bring; `None` where there are none.
    token: Option<Token>,
    summary: Summary,
}

impl Console {
    /// With a plot of the last hour, the times of next attempts, and a live list. Default: none of these;
    /// the page polls every five seconds.
    #[must_use]
    pub fn with_events(mut self, events: &ConsoleEvents) -> Self {
        self.events = Some(events.clone());
        self
    }

    /// Lets those who may open the console redeliver and cancel. Default: the console is read-only.
    ///
    /// An action needs a random token from the page and must come from the page's own origin, so another
    /// site cannot act on behalf of a logged-in operator. Each console has its own token: a page that was
    /// loaded from another process, or before a restart, has to be reloaded.
    ///
    /// # Panics
    ///
    /// Where the system has no random numbers.
    #[must_use]
    pub fn with_actions(mut self) -> Self {
        self.token = Some(Token::fresh().expect("the system has random numbers"));
        self
    }

    async fn answer(self, head: Parts) -> Answer {
        if !self.access.permits(&head) {
            return answer::to(&head.method, answer::no_access());
        }
        let path = head.uri.path().trim_matches('/');
        let action = path.strip_prefix("api/").and_then(Action::named);
        let is_read = matches!(head.method, Method::GET | Method::HEAD);
        let answer = match action {
            Some(action) if head.method == Method::POST => self.act(action, &head).await,
            Some(_) => return answer::to(&head.method, answer::wrong_method("POST")),
            None if is_read => self.read(path, &head).await,
            None => return answer::wrong_method("GET, HEAD"),
        };
        answer::to(&head.method, answer.unwrap_or_else(Refused::answer))
    }

    async fn act(&self, action: Action, head: &Parts) -> Result<Answer, Refused> {
        let token = self.token.as_ref();
        let token = token.ok_or(Refused::Forbidden("this console is read-only"))?;
        actions::check(token, &head.headers, &head.uri)?;
        let done = actions::act(self.listed()?, action, &query_of(head)).await?;
        Ok(answer::json(&done))
    }

    async fn read(&self, path: &str, head: &Parts) -> Result<Answer, Refused> {
        let dispatcher = &self.dispatcher;
        let events = self.events.as_ref();
        let query = query_of(head);
        let value = match path {
            "" => return self.page(),
            "api/events" => {
                let events = events.ok_or(Refused::NotFound)?;
                return Ok(answer::changes(events.stream()));
            }
            "api/summary" => self.summary.of(dispatcher, events).await,
            "api/deliveries" => api::list(self.listed()?, &query).await?,
            "api/delivery" => api::one(self.listed()?, &query, events).await?,
            "api/payload" => api::payload(self.listed()?, &query).await?,
            "api/count" => actions::count(self.listed()?, &query).await?,
            _ => return Err(Refused::NotFound),
        };
        Ok(answer::json(&value))
    }

    /// The dispatcher where what its outbox keeps can be looked at.
    fn listed(&self) -> Result<&Dispatcher, Refused> {
        let can_list = self.dispatcher.can_list();
        can_list
            .then_some(&self.dispatcher)
            .ok_or(Refused::NotListed)
    }

    fn page(&self) -> Result<Answer, Refused> {
        let nonce = token::nonce().map_err(|_| Refused::NoRandom)?;
        let html = page::of(&nonce, self.token.as_ref(), self.events.is_some());
        answer::page(html, &nonce)
    }
}

fn query_of(head: &Parts) -> Query {
    Query::parse(head.uri.query().unwrap_or_default())
}

impl<B> Service<Request<B>> for Console {
    type Response = Response<ConsoleBody>;
    type Error = Infallible;
    type Future = ConsoleFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ConsoleFuture {
        let (head, _) = request.into_parts();
        ConsoleFuture(Box::pin(self.clone().answer(head)))
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console")
            .field("access", &self.access)
            .field("has_events", &self.events.is_some())
            .field("has_actions", &self.token.is_some())
            .finish_non_exhaustive()
    }
}

/// The future of a [`Console`].
pub struct ConsoleFuture(Pin<Box<dyn Future<Output = Answer> + Send>>);

impl Future for ConsoleFuture {
    type Output = Result<Response<ConsoleBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for ConsoleFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConsoleFuture")
    }
}
