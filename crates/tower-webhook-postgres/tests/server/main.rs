//! The PostgreSQL outbox: a real server, a real dispatcher, a real receiver on loopback.

#[path = "../support/mod.rs"]
mod support;

mod bounds;
mod clocks;
mod deliveries;
mod edited_rows;
mod fleet;
mod hanging;
mod hosts;
mod kill_process;
mod kill_server;
mod large_payloads;
mod look_ups;
mod lost_answers;
mod migrations;
mod notices;
mod opening;
mod outages;
mod repeated_inserts;
mod repeated_runs;
mod runtimes;
mod stuck_commits;
mod tls;
mod whole_way;
