use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, LOCATION},
};
use tokio::{
    runtime::Handle,
    time::{Sleep, sleep},
};

use crate::{ask::Promise, delivery::wire::REQUEST_ID, id::RequestId};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
static PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const RESPOND_ASYNC: HeaderValue = HeaderValue::from_static("respond-async");

/// The 202 that takes the place of a response which is not there in time.
pub(super) struct Receipt {
    promise: Promise,
    run_id: RequestId,
    /// Where the status of the call is.
    location: Option<String>,
    /// Set once it had to be waited for.
    time: Option<Pin<Box<Sleep>>>,
    /// That the call runs is being recorded.
    recording: Option<BoxFuture<'static, ()>>,
}

impl Receipt {
    pub(super) fn new(promise: Promise, run_id: RequestId, location: Option<String>) -> Self {
        Self {
            promise,
            run_id,
            location,
            time: None,
            recording: None,
        }
    }

    /// Whether the response has a while to come.
    pub(super) fn waits(&self) -> bool {
        self.promise.wait > Duration::ZERO
    }

    /// Ready when the response's time is over. Outside a runtime it never is: nothing could run on
    /// there.
    pub(super) fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if Handle::try_current().is_err() {
            return Poll::Pending;
        }
        if self.waits() {
            let wait = self.promise.wait;
            let time = self.time.get_or_insert_with(|| Box::pin(sleep(wait)));
            ready!(time.as_mut().poll(cx));
        }
        Poll::Ready(())
    }

    pub(super) fn record(&mut self, recording: BoxFuture<'static, ()>) {
        self.recording = Some(recording);
    }

    pub(super) fn is_recording(&self) -> bool {
        self.recording.is_some()
    }

    pub(super) fn poll_recorded(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.recording {
            Some(recording) => recording.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }

    pub(super) fn response(self) -> Response<Bytes> {
        let run_id = self.run_id.as_str();
        let text = format!(r#"{{"run_id":"{run_id}"}}"#);
        let mut response = Response::new(Bytes::from(text));
        *response.status_mut() = StatusCode::ACCEPTED;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        let run_id = HeaderValue::from_str(run_id).expect("an id is visible ASCII");
        headers.insert(REQUEST_ID.clone(), run_id);
        if let Some(location) = self.location {
            let location = HeaderValue::try_from(location).expect("it is visible ASCII");
            headers.insert(LOCATION, location);
        }
        if self.promise.is_preferred {
            headers.insert(PREFERENCE_APPLIED.clone(), RESPOND_ASYNC);
        }
        response
    }
}
