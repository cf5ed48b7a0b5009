//! What must be true of every outbox, as tests (feature `testing`).
//!
//! ```
//! # use tower_webhook::outbox::MemoryOutbox;
//! #[tokio::test]
//! # async fn doc() {}
//! async fn it_keeps_the_contract() {
//!     tower_webhook::testing::check(async || MemoryOutbox::new()).await;
//! }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
//! #     .block_on(it_keeps_the_contract());
//! ```
//!
//! An outbox that several processes can share is also to be run through [`check_shared`], which opens
//! the same store again and again.
//!
//! The rules wait for leases to run out and deliveries to become due, by [`tokio::time`]. An outbox
//! that keeps time by any other clock is run on a clock that is not paused. Give it leases of 300 ms
//! to 1 s, where it has any: the suite then takes about 15 s. A lease that is shorter than what a
//! rule does between two renewals is broken by the machine, not by the outbox.
//!
//! The payloads have up to 21 kB, and [`Limits::max_payload`](crate::outbox::Limits::max_payload) must
//! let them through.

mod fixture;
mod rules;
mod shared;

use std::{fmt, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use tokio::time::timeout;

use crate::outbox::Outbox;

/// A rule that an outbox breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The rule, in one sentence.
    pub rule: &'static str,
    /// What was seen instead.
    pub found: String,
}

/// Nothing takes so long, unless it never ends.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs the contract suite on an outbox. `make` makes a new and empty one each time.
///
/// # Panics
///
/// When the outbox breaks a rule, with all that it breaks.
pub async fn check<O: Outbox>(make: impl AsyncFn() -> O) {
    complain(&violations(make).await);
}

/// The rules that an outbox breaks; see [`check`].
pub async fn violations<O: Outbox>(make: impl AsyncFn() -> O) -> Vec<Violation> {
    let mut found = Vec::new();
    macro_rules! run {
        ($($rule:ident: $sentence:literal),* $(,)?) => {$(
            let rule = async { rules::$rule(make().await).await };
            found.extend(judge($sentence, rule).await);
        )*};
    }
    run! {
        insert_leases_where_it_is_asked: "insert gives a lease where one is asked for, in the batch's order",
        fetch_gives_back_what_was_kept: "fetch gives back what was inserted, byte for byte, as the first attempt",
        fetch_skips_what_is_leased: "what is leased is not fetched, be it leased by insert or by fetch",
        fetch_keeps_to_the_number: "fetch brings no more deliveries than are wanted, and says that there are more",
        fetch_keeps_to_the_bytes: "fetch brings nothing after the bytes that are wanted, and always something",
        fetch_reaches_past_saturated_hosts: "fetch brings what is due for other hosts, however much is due for saturated ones",
        fetch_brings_named_hosts_alone: "fetch brings nothing of other hosts where none is wanted",
        fetch_begins_with_the_longest_due: "fetch brings what has been due for the longest first",
        the_oldest_due_is_told: "where the outbox can tell what has been due for the longest, it says so, of what is leased to nobody",
        delivered_is_gone: "what was delivered is never fetched again",
        again_is_due_later: "what is due again is fetched after its delay and not before, as the next attempt",
        put_off_is_due_later: "what was put off is fetched after its delay and not before, as the same attempt",
        forgotten_is_gone: "what is forgotten is never due, and not listed",
        dead_is_never_due: "a dead letter is never due",
        released_is_due_as_it_was: "what was released is due at once, as the same attempt, with another token",
        a_lost_lease_changes_nothing: "a settlement for a lease that was lost says so and changes nothing",
        settle_answers_in_order: "settle answers for each settlement, in the batch's order",
        renew_tells_what_is_lost: "renew gives back the leases that are lost, and no others",
        a_lease_runs_out: "a lease that is not renewed runs out, and one that is renewed does not",
        insert_is_idempotent: "a delivery that is inserted twice is there once",
        close_hands_back: "close gives what is lost with the process, and hands the rest back",
        list_is_newest_first: "list gives records newest first, page by page, as the filter says",
        get_and_payload_find_one: "get and payload find one delivery by its id, and no other",
        redeliver_revives_the_dead: "redeliver makes all dead letters due that the filter lets through, and only those",
        cancel_forgets_what_waits: "cancel forgets what waits and passes the filter, and nothing that is leased",
        history_keeps_how_it_ended: "what was delivered is listed as that, with its attempts, or not at all",
        redeliver_leaves_what_was_delivered: "redeliver makes what was delivered due only where that is asked for, whole or not at all",
        a_run_is_leased: "a run is leased, is not fetched, and is there once",
        insert_takes_the_place_of_a_run: "insert takes the place of a run, with another lease",
        a_run_that_has_ended_is_gone: "a run that is settled is never due",
        a_run_that_is_handed_back_is_told: "a run that is handed back is due as what was kept of it, unless its response comes first",
        a_late_response_takes_the_place_of_its_notice: "a late response takes the place of its notice",
        close_hands_runs_back: "close hands runs back, and loses none",
        a_dropped_call_loses_nothing: "a call that is dropped half-way loses nothing",
        many_calls_at_once: "calls that are made at the same time do not get in each other's way",
        a_dispatcher_delivers_all: "a dispatcher delivers everything from it, once, within its limits",
    }
    found
}

/// Runs the rules for an outbox that several processes share. `make` makes a new and empty store;
/// `open` opens an outbox on a store, for as often as it is called.
///
/// # Panics
///
/// When the outbox breaks a rule, with all that it breaks.
pub async fn check_shared<S, O: Outbox>(make: impl AsyncFn() -> S, open: impl AsyncFn(&S) -> O) {
    complain(&shared_violations(make, open).await);
}

/// The rules for shared outboxes that an outbox breaks; see [`check_shared`].
pub async fn shared_violations<S, O: Outbox>(
    make: impl AsyncFn() -> S,
    open: impl AsyncFn(&S) -> O,
) -> Vec<Violation> {
    let mut found = Vec::new();
    macro_rules! run {
        ($($rule:ident: $sentence:literal),* $(,)?) => {$(
            let rule = async {
                let store = make().await;
                shared::$rule(async || open(&store).await).await
            };
            found.extend(judge($sentence, rule).await);
        )*};
    }
    run! {
        it_outlives_the_process: "what was inserted is there when the store is opened again",
        what_was_noted_outlives_it_too: "what became of deliveries is known when the store is opened again",
        a_lease_is_one_processes: "what one process has leased no other one gets",
        close_hands_over_at_once: "what a process that was closed had leased is due for the next one at once",
        a_dead_processes_leases_run_out: "what a process that is gone had leased is due after the time of a lease, and not before",
        a_run_of_a_closed_process_is_told: "what ran in a process that was closed is due for the next one at once",
        a_run_of_a_dead_process_is_told: "what ran in a process that is gone is due after the time of a lease, and once",
        a_settlement_after_the_takeover_is_lost: "a settlement of a process whose lease another one has taken over changes nothing",
    }
    found
}

fn complain(violations: &[Violation]) {
    let sentences: Vec<_> = violations.iter().map(ToString::to_string).collect();
    assert!(
        violations.is_empty(),
        "the outbox breaks {} rules:\n{}",
        violations.len(),
        sentences.join("\n")
    );
}

type Judgement = Result<(), String>;

async fn judge(rule: &'static str, judged: impl Future<Output = Judgement>) -> Option<Violation> {
    let judged = timeout(PATIENCE, AssertUnwindSafe(judged).catch_unwind()).await;
    let found = match judged {
        Ok(Ok(Ok(()))) => return None,
        Ok(Ok(Err(found))) => found,
        Ok(Err(panic)) => {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            format!("it panicked: {}", text.unwrap_or("no message"))
        }
        Err(_) => format!("it did not end within {PATIENCE:?}"),
    };
    Some(Violation { rule, found })
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "- {}: {}", self.rule, self.found)
    }
}
