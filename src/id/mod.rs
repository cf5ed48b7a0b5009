//! The two ids of a webhook. Nothing else lives here, and nothing here knows anything else.

mod delivery_id;
mod request_id;

pub(crate) use self::request_id::is_id;
pub use self::{delivery_id::DeliveryId, request_id::RequestId};
