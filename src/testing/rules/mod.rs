//! The rules for every outbox, each a function of its own.

mod insert_and_fetch;
mod leases;
mod records;
mod together;

pub(super) use self::{insert_and_fetch::*, leases::*, records::*, together::*};
