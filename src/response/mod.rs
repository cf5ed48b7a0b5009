//! From a response to its delivery: when a body is complete, what is kept of it, and what happens
//! when its caller leaves. What a layer is told, and how a delivery goes on, are not known here.

mod capture;
mod kept;
mod notice;
mod pending;
mod run_on;

pub(crate) use self::{
    capture::{BodyStart, Capture, Progress, start},
    pending::{Call, PendingWebhook, Wishes},
    run_on::{Disconnect, RunOn, Runnable, Unfinished, wait_on},
};
