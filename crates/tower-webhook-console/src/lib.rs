#![doc = include_str!("../README.md")]

mod access;
mod actions;
mod answer;
mod api;
mod body;
mod console;
mod count;
mod events;
mod json;
mod page;
mod query;
mod summary;
mod token;

pub use self::{
    access::Access,
    body::ConsoleBody,
    console::{Console, ConsoleFuture, console},
    events::ConsoleEvents,
};
