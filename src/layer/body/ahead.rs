use std::{any::Any, collections::VecDeque};

use bytes::Bytes;
use http_body::Frame;

/// What the body has given before anybody asked for it.
#[derive(Default)]
pub(super) struct Ahead {
    /// Apart from the others, for which it takes an allocation: most give no more.
    first: Option<Frame<Bytes>>,
    others: VecDeque<Frame<Bytes>>,
    /// Of the body's own type.
    error: Option<Box<dyn Any + Send>>,
    is_over: bool,
}

impl Ahead {
    pub(super) fn push<E: Send + 'static>(&mut self, given: Option<Result<Frame<Bytes>, E>>) {
        match given {
            Some(Ok(frame)) if self.is_empty() => self.first = Some(frame),
            Some(Ok(frame)) => self.others.push_back(frame),
            Some(Err(error)) => self.error = Some(Box::new(error)),
            None => self.is_over = true,
        }
    }

    /// `None` when there is nothing.
    pub(super) fn pop<E: 'static>(&mut self) -> Option<Option<Result<Frame<Bytes>, E>>> {
        if let Some(frame) = self.first.take().or_else(|| self.others.pop_front()) {
            return Some(Some(Ok(frame)));
        }
        if let Some(error) = self.error.take().and_then(|error| error.downcast().ok()) {
            return Some(Some(Err(*error)));
        }
        std::mem::take(&mut self.is_over).then_some(None)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0 && self.error.is_none()
    }

    /// How many frames there are.
    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    pub(super) fn frames(&self) -> impl Iterator<Item = &Frame<Bytes>> {
        self.first.iter().chain(&self.others)
    }
}
