//! A service behind the layer, and receivers on loopback that mean it harm.

#![allow(dead_code, reason = "each test binary uses a part of it")]

#[path = "hostile/api.rs"]
mod api;
#[path = "hostile/clock.rs"]
mod clock;
#[path = "hostile/conn.rs"]
mod conn;
#[path = "hostile/names.rs"]
mod names;
#[path = "hostile/receiver.rs"]
mod receiver;

pub(crate) use self::{api::*, clock::*, conn::*, names::*, receiver::*};
