use std::{any::Any, collections::VecDeque};

use bytes::Bytes;
use http_body::Frame;

/// What the body has given before anybody asked for it.
#[derive(Default)]
pub(super) struct Ahead {
    pub(super) frames: VecDeque<Frame<Bytes>>,
    /// Of the body's own type.
    error: Option<Box<dyn Any + Send>>,
    is_over: bool,
}

impl Ahead {
    pub(super) fn push<E: Send + 'static>(&mut self, given: Option<Result<Frame<Bytes>, E>>) {
        match given {
            Some(Ok(frame)) => self.frames.push_back(frame),
            Some(Err(error)) => self.error = Some(Box::new(error)),
            None => self.is_over = true,
        }
    }

    /// `None` when there is nothing.
    pub(super) fn pop<E: 'static>(&mut self) -> Option<Option<Result<Frame<Bytes>, E>>> {
        if let Some(frame) = self.frames.pop_front() {
            return Some(Some(Ok(frame)));
        }
        if let Some(error) = self.error.take().and_then(|error| error.downcast().ok()) {
            return Some(Some(Err(*error)));
        }
        std::mem::take(&mut self.is_over).then_some(None)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.error.is_none()
    }
}
