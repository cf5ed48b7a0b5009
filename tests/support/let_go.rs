//! Tells when a server has dropped a request.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tower::{Layer, Service};

use super::{gate::TellDrop, soon};

#[derive(Debug)]
pub(crate) struct LetGo(UnboundedReceiver<()>);

impl LetGo {
    /// Waits until one more request is dropped: its future, and the response's body.
    pub(crate) async fn next(&mut self) {
        soon("the server letting go", self.0.recv()).await.unwrap();
    }
}

pub(crate) fn letting_go() -> (Tell, LetGo) {
    let (tell, told) = mpsc::unbounded_channel();
    (Tell(tell), LetGo(told))
}

/// The outermost layer.
#[derive(Clone, Debug)]
pub(crate) struct Tell(UnboundedSender<()>);

#[derive(Clone, Debug)]
pub(crate) struct Telling<S> {
    service: S,
    tell: UnboundedSender<()>,
}

impl<S> Layer<S> for Tell {
    type Service = Telling<S>;

    fn layer(&self, service: S) -> Telling<S> {
        let tell = self.0.clone();
        Telling { service, tell }
    }
}

impl<S, R, B> Service<Request<R>> for Telling<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<Told<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Told<B>>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let guard = TellDrop(self.tell.clone());
        let answer = self.service.call(request);
        Box::pin(async {
            // Dropped behind the answer.
            let guard = guard;
            let response = answer.await?;
            Ok(response.map(|body| Told { body, guard }))
        })
    }
}

pin_project! {
    pub(crate) struct Told<B> {
        #[pin]
        body: B,
        // Dropped behind the body.
        guard: TellDrop,
    }
}

impl<B: Body> Body for Told<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
