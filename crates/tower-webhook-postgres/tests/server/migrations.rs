//! Migrations, schema names and settings that are refused.

use std::time::Duration;

use futures_util::future::join_all;
use tower_webhook::outbox::{Outbox, Want};
use tower_webhook_postgres::{PostgresOutbox, PostgresOutboxErrorKind as Kind};

use crate::{
    deliveries::new,
    support::{
        place::{self, Place},
        server,
    },
};

async fn refusal(place: &Place) -> Kind {
    place.builder().open().await.unwrap_err().kind()
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_migrate_at_once() {
    let Some(place) = place::place() else { return };
    let opened = join_all((0..10).map(|_| place.builder().open())).await;
    let outboxes: Vec<_> = opened.into_iter().map(Result::unwrap).collect();
    assert_eq!(place.count("migration", "TRUE").await, 1);
    for outbox in &outboxes {
        outbox
            .insert(vec![new("a.example", "done", false)])
            .await
            .unwrap();
    }
    let due = outboxes[0].fetch(Want::up_to(99)).await.unwrap();
    assert_eq!(due.deliveries.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_a_newer_version_is_refused() {
    let Some(place) = place::place() else { return };
    drop(place.outbox().await);
    let sql = place.sql().await;
    sql.batch_execute("INSERT INTO migration VALUES (99)")
        .await
        .unwrap();
    assert_eq!(refusal(&place).await, Kind::NewerSchema);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_something_else_is_left_alone() {
    let Some(place) = place::place() else { return };
    let sql = place.sql().await;
    sql.batch_execute(&format!(
        "CREATE SCHEMA \"{}\"; CREATE TABLE delivery (theirs integer)",
        place.schema
    ))
    .await
    .unwrap();
    assert_eq!(refusal(&place).await, Kind::Foreign);
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = $1";
    let tables = sql.query_one(tables, &[&place.schema]).await.unwrap();
    assert_eq!(tables.get::<_, i64>(0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_of_something_else_are_left_alone() {
    for table in [
        "CREATE TABLE migration (name text); INSERT INTO migration VALUES ('1')",
        "CREATE TABLE migration (version text); INSERT INTO migration VALUES ('1')",
        "CREATE TABLE migration (version boolean); INSERT INTO migration VALUES (true)",
        "CREATE TABLE migration (version integer); INSERT INTO migration VALUES (1)",
        "CREATE TABLE migration (version integer); INSERT INTO migration VALUES (99)",
        "CREATE TABLE migration (version integer); INSERT INTO migration VALUES (1);
         CREATE TABLE delivery (theirs integer); CREATE TABLE history (theirs integer)",
    ] {
        let Some(place) = place::place() else { return };
        let sql = place.sql().await;
        let schema = &place.schema;
        sql.batch_execute(&format!("CREATE SCHEMA \"{schema}\"; {table}"))
            .await
            .unwrap();
        assert_eq!(refusal(&place).await, Kind::Foreign, "{table}");
        let checked = place.builder().without_migrations().open().await;
        assert_eq!(checked.unwrap_err().kind(), Kind::Foreign, "{table}");
        assert_eq!(place.count("migration", "TRUE").await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn printed_migrations_make_what_is_needed() {
    let Some(place) = place::place() else { return };
    let unmigrated = place.builder().without_migrations().open().await;
    assert_eq!(unmigrated.unwrap_err().kind(), Kind::OlderSchema);
    let sql = place.sql().await;
    for migration in place.builder().migrations().unwrap() {
        sql.batch_execute(migration.sql()).await.unwrap();
    }
    let outbox = place.builder().without_migrations().open().await.unwrap();
    outbox
        .insert(vec![new("a.example", "done", false)])
        .await
        .unwrap();
}

/// A database user that may change rows but not create tables.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_the_right_to_create_works_with_what_is_there() {
    let Some(place) = place::place() else { return };
    drop(place.outbox().await);
    let sql = place.sql().await;
    let schema = &place.schema;
    sql.batch_execute(&format!(
        "CREATE ROLE plain LOGIN; GRANT USAGE ON SCHEMA \"{schema}\" TO plain;
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA \"{schema}\" TO plain"
    ))
    .await
    .unwrap();
    let plain = Place {
        url: place.url.replace("user=postgres", "user=plain"),
        ..place.clone()
    };
    let outbox = plain.outbox().await;
    let lease = crate::deliveries::put_leased(&outbox, "a.example", "done").await;
    let delivered = tower_webhook::outbox::Verdict::Delivered;
    crate::deliveries::settle(&outbox, lease, delivered).await;
    assert_eq!(place.count("history", "TRUE").await, 1);
    let elsewhere = Place {
        schema: "not there".to_owned(),
        ..plain
    };
    assert_eq!(refusal(&elsewhere).await, Kind::Refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_may_have_any_name() {
    let Some(server) = server::shared() else {
        return;
    };
    for schema in [
        "plain",
        "SELECT",
        "Ünïcode ☃",
        "it's \"odd\"; DROP TABLE x; --",
        "$$ \\ % {} \n $1",
        "public",
    ] {
        let place = Place {
            url: server.url(),
            schema: schema.to_owned(),
        };
        let outbox = place.outbox().await;
        outbox
            .insert(vec![new("a.example", "done", false)])
            .await
            .unwrap();
        assert_eq!(
            outbox.fetch(Want::up_to(9)).await.unwrap().deliveries.len(),
            1
        );
        let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = $1";
        let sql = server.sql().await;
        let tables = sql.query_one(tables, &[&schema]).await.unwrap();
        assert_eq!(tables.get::<_, i64>(0), 4, "{schema}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_be_are_refused() {
    let url = "host=/nowhere user=postgres";
    let no_key = PostgresOutbox::builder(url).open().await.unwrap_err();
    assert_eq!(no_key.kind(), Kind::NoKey);
    let builder = || PostgresOutbox::builder(url).with_insecure_plaintext();
    let odd = builder().with_schema("pg_temp").open().await.unwrap_err();
    assert_eq!(odd.kind(), Kind::InvalidSchemaName);
    let nowhere = builder().open().await.unwrap_err();
    assert_eq!(nowhere.kind(), Kind::Unavailable);
    for text in [format!("{nowhere}"), format!("{nowhere:?}")] {
        assert!(!text.contains("/nowhere"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_times_are_possible() {
    let Some(place) = place::place() else { return };
    let (longest, builder) = (Duration::MAX, place.builder());
    let builder = builder.with_timeout(longest).with_lease(longest);
    let builder = builder
        .with_history_kept(longest)
        .with_dead_letters_kept(longest);
    let outbox = builder.open().await.unwrap();
    crate::deliveries::put_leased(&outbox, "a.example", "done").await;
    outbox.fetch(Want::up_to(9)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_lost_key_is_noticed() {
    let Some(place) = place::place() else { return };
    let outbox = place.outbox().await;
    outbox
        .insert(vec![new("a.example", "done", false)])
        .await
        .unwrap();
    drop(outbox);
    let sql = place.sql().await;
    sql.batch_execute("UPDATE delivery SET key = '0102030405060708'")
        .await
        .unwrap();
    assert_eq!(refusal(&place).await, Kind::UnknownKey);
    assert!(place.builder().with_lost_keys().open().await.is_ok());
}
