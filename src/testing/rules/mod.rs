//! The rules for every outbox, each a function of its own.

mod history;
mod insert_and_fetch;
mod leases;
mod records;
mod runs;
mod together;

pub(super) use self::{
    history::*, insert_and_fetch::*, leases::*, records::*, runs::*, together::*,
};
