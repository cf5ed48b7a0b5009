use std::fmt;

use http::Response;

use crate::ResponseBody;

/// Which type the bodies of a layer's responses have: [`Wrapped`] or [`Kept`].
///
/// It is sealed: there are just these two.
pub trait BodyType<B>: Copy + sealed::Sealed {
    /// The type of the bodies that are given to the caller.
    type Body;

    /// A response of which nothing is kept.
    #[doc(hidden)]
    fn pass(response: Response<B>) -> Response<Self::Body>;

    /// A response that may be watched.
    #[doc(hidden)]
    fn give(self, response: Response<ResponseBody<B>>) -> Response<Self::Body>;
}

/// Each response's body is a [`ResponseBody`] around the service's own. The default.
#[derive(Clone, Copy, Debug)]
pub struct Wrapped;

/// Each response's body has the type `B` that it has without the layer. Made by
/// [`WebhookLayer::with_kept_body`](crate::WebhookLayer::with_kept_body).
pub struct Kept<B> {
    make: fn(ResponseBody<B>) -> B,
}

impl<B> Kept<B> {
    pub(crate) fn new(make: fn(ResponseBody<B>) -> B) -> Self {
        Self { make }
    }
}

impl<B> BodyType<B> for Wrapped {
    type Body = ResponseBody<B>;

    fn pass(response: Response<B>) -> Response<ResponseBody<B>> {
        response.map(ResponseBody::plain)
    }

    fn give(self, response: Response<ResponseBody<B>>) -> Response<ResponseBody<B>> {
        response
    }
}

impl<B> BodyType<B> for Kept<B> {
    type Body = B;

    fn pass(response: Response<B>) -> Response<B> {
        response
    }

    fn give(self, response: Response<ResponseBody<B>>) -> Response<B> {
        response.map(|body| body.into_plain().unwrap_or_else(self.make))
    }
}

mod sealed {
    #[expect(unnameable_types, reason = "that is what seals")]
    pub trait Sealed {}

    impl Sealed for super::Wrapped {}

    impl<B> Sealed for super::Kept<B> {}
}

// Derived, they would ask the same of `B`.
impl<B> Copy for Kept<B> {}

impl<B> Clone for Kept<B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> fmt::Debug for Kept<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept")
    }
}
