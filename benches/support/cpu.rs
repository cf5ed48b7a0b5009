//! The time that a process has spent on a processor, which other processes disturb less than
//! they disturb the time on the wall. Linux only; elsewhere it is 0.

use std::{fs, time::Duration};

/// Of all threads of a process that are alive.
pub(crate) fn time_of(process: u32) -> Duration {
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else {
        return Duration::ZERO;
    };
    tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("schedstat")).ok())
        .filter_map(|stat| stat.split(' ').next()?.parse().ok())
        .map(Duration::from_nanos)
        .sum()
}
