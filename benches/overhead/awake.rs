//! Processors that are kept awake. One that has nothing to do is put to sleep, a virtual one by its
//! host as well, and wakes up without its caches: then code costs several times what it costs a
//! server in use, and whoever has more of it pays more.

use std::{hint::black_box, io, num::NonZero, process::Command, thread::available_parallelism};

use crate::support::child::{Child, end_with_parent, program, say};

pub(crate) const ROLE: &str = "awake";

/// One process for each processor, which gives way to everybody. They end when this is dropped.
/// An error where there is no `chrt`; Linux has one.
pub(crate) fn keep() -> io::Result<Vec<Child>> {
    let processors = available_parallelism().map_or(1, NonZero::get);
    let spin = |_| {
        let mut command = Command::new("chrt");
        command.args(["--idle", "0"]).arg(program());
        let mut child = Child::spawn(command, ROLE)?;
        // Not before it runs: `chrt` can fail as well.
        child.line();
        Ok(child)
    };
    (0..processors).map(spin).collect()
}

/// The child's part.
pub(crate) fn serve() {
    end_with_parent();
    say(ROLE);
    loop {
        black_box(());
    }
}
