use std::time::Duration;

use futures::{FutureExt, future::join_all};
use tower::ServiceExt;

use super::{Gate, Open, builder, count, delivery, folder, ids, open, settle, sql};
use crate::{
    Host,
    outbox::{
        Durability, Source, Verdict,
        sqlite::{SqliteOutboxError, SqliteOutboxErrorKind, command::Command},
    },
};

fn kind(error: &crate::BoxError) -> SqliteOutboxErrorKind {
    error.downcast_ref::<SqliteOutboxError>().unwrap().kind()
}

fn panic(outbox: &Open) -> Result<(), SqliteOutboxError> {
    let panics = || panic!("asked to");
    outbox.sink.handle().send(Command::Do(Box::new(panics)))
}

#[tokio::test]
async fn one_that_fails_takes_nobody_with_it() {
    let folder = folder();
    let outbox = open(builder(&folder));
    let poison = "CREATE TRIGGER poison BEFORE INSERT ON delivery WHEN new.id = 'run-3'
                  BEGIN SELECT RAISE(ABORT, 'poison'); END";
    sql(&folder).execute_batch(poison).unwrap();
    let names: Vec<_> = (0..10).map(|n| format!("run-{n}")).collect();
    let accepted = join_all(names.iter().map(|id| outbox.accept(id))).await;
    for (n, accepted) in accepted.into_iter().enumerate() {
        match accepted {
            Ok(accepted) => assert_eq!(accepted.durability, Durability::LocalDisk),
            Err(error) => assert_eq!((n, kind(&error)), (3, SqliteOutboxErrorKind::Other)),
        }
    }
    assert_eq!(count(&folder, "TRUE"), 9);
}

#[tokio::test]
async fn a_panic_is_told_to_whoever_waits() {
    let folder = folder();
    let mut outbox = open(builder(&folder));
    outbox.accept("before").await.unwrap();
    let claim = outbox.next(1).await.remove(0);
    // The lock keeps the group together.
    let lock = sql(&folder);
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let waiting = tokio::spawn({
        let accepting = outbox.sink.clone();
        async move { accepting.oneshot(delivery("b", "b.example", "")).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    panic(&outbox).unwrap();
    lock.execute_batch("COMMIT").unwrap();
    let _either = waiting.await.unwrap();

    super::until(|| panic(&outbox).is_err()).await;
    let gone = SqliteOutboxErrorKind::Gone;
    assert_eq!(kind(&outbox.accept("after").await.unwrap_err()), gone);
    assert_eq!(
        kind(&settle(claim, Verdict::Delivered).await.unwrap_err()),
        gone
    );
    let room = |_: &Host| 1;
    let demand = crate::outbox::Demand::new(1, &room);
    let next = crate::outbox::Source::next(&mut outbox.source, demand).await;
    assert_eq!(kind(&next.unwrap_err()), gone);
    assert_eq!(count(&folder, "id = 'before'"), 1, "nothing is lost");
}

#[tokio::test]
async fn what_an_attempt_came_to_is_noted_once_the_file_takes_it() {
    let folder = folder();
    let mut outbox = open(builder(&folder).with_lock_timeout(Duration::from_millis(20)));
    outbox.accept("a").await.unwrap();
    let claim = outbox.next(1).await.remove(0);
    let lock = sql(&folder);
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let settling = tokio::spawn(settle(claim, Verdict::Delivered));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let error = outbox.accept("b").await.unwrap_err();
    assert_eq!(kind(&error), SqliteOutboxErrorKind::Locked);
    assert!(!settling.is_finished());
    lock.execute_batch("COMMIT").unwrap();
    settling.await.unwrap().unwrap();
    assert_eq!(count(&folder, "TRUE"), 0);
}

#[tokio::test]
async fn what_was_kept_for_somebody_who_gave_up_meanwhile_is_taken_back() {
    let folder = folder();
    let mut outbox = open(builder(&folder));
    let before = Gate::shut(&outbox);
    before.is_reached();
    let sink = outbox.sink.clone();
    let mut accepting = sink.oneshot(delivery("late", "a.example", "payload"));
    assert!((&mut accepting).now_or_never().is_none());
    let within = Gate::shut(&outbox);
    assert!(outbox.next(9).now_or_never().is_none());
    drop(before);

    within.is_reached();
    drop(accepting);
    drop(within);
    outbox.accept("in-time").await.unwrap();
    assert_eq!(ids(&outbox.next(9).await), ["in-time"]);
    assert_eq!(count(&folder, "TRUE"), 1);
}

#[tokio::test]
async fn nothing_is_claimed_for_a_source_that_rests() {
    let folder = folder();
    let mut outbox = open(builder(&folder));
    outbox.accept("a").await.unwrap();
    let gate = Gate::shut(&outbox);
    gate.is_reached();
    assert!(outbox.next(9).now_or_never().is_none());
    outbox.source.rest();
    drop(gate);
    outbox.accept("b").await.unwrap();
    let owners = "SELECT count(*) FROM owner";
    let owners: i64 = sql(&folder)
        .query_row(owners, [], |row| row.get(0))
        .unwrap();
    assert_eq!(owners, 0);
}
