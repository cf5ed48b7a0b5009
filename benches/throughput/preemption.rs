//! Whether a thread that becomes ready takes the processor from another one.
//!
//! A receiver is on another machine; a bench's is on the same processors. As Linux has it by default
//! each of its answers lets a thread of the sender take the processor from it, to post a single
//! request and wait again, or not, by how the threads came to lie: the same program is then a fifth
//! faster or slower from one run to the next. Threads of `SCHED_BATCH` take turns.

use std::{
    io,
    process::{Command, Stdio, id},
};

/// From now on threads of this process, and of children that it starts, take turns.
pub(crate) fn prevent() -> io::Result<()> {
    set("--batch")
}

/// Threads preempt each other, which is the default.
pub(crate) fn allow() -> io::Result<()> {
    set("--other")
}

/// An error where there is no `chrt`; Linux has one.
fn set(policy: &str) -> io::Result<()> {
    let process = id().to_string();
    let status = Command::new("chrt")
        .args(["--all-tasks", policy, "--pid", "0", &process])
        .stdout(Stdio::null())
        .status()?;
    match status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("chrt: {status}"))),
    }
}
