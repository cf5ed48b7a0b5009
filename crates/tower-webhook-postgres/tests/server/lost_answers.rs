//! Transactions that are committed while their connection breaks.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_postgres::Client;
use tower_webhook::{
    BoxError,
    event::{AttemptError, Outcome},
    outbox::{DeliveryFilter, Outbox, Settlement, Verdict},
};
use tower_webhook_postgres::PostgresOutbox;

use crate::{
    deliveries::{new, put_leased},
    support::{
        place::Place,
        proxy::{Proxy, behind_a_proxy},
        scene::{PATIENCE, until},
        server,
    },
};

struct Scene {
    /// Without the proxy.
    place: Place,
    proxy: Proxy,
    outbox: PostgresOutbox,
    sql: Client,
}

impl Scene {
    async fn new() -> Option<Self> {
        let (place, proxy) = behind_a_proxy().await?;
        let builder = place.builder().with_timeout(PATIENCE);
        let outbox = builder.with_lease(PATIENCE).open().await.unwrap();
        let url = server::shared()?.url();
        let place = Place { url, ..place };
        Some(Self {
            sql: place.sql().await,
            place,
            proxy,
            outbox,
        })
    }

    /// What the call says whose connection breaks in its commit, which waits for a lock meanwhile.
    async fn lose_the_answer<T>(
        &self,
        call: impl AsyncFnOnce(&PostgresOutbox) -> Result<T, BoxError>,
    ) -> Result<T, BoxError> {
        static NEXT: AtomicUsize = AtomicUsize::new(5_678);
        let lock = NEXT.fetch_add(1, Ordering::Relaxed);
        self.sql
            .batch_execute(&format!(
                "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
                     'BEGIN PERFORM pg_advisory_xact_lock_shared({lock}); RETURN NULL; END';
                 CREATE CONSTRAINT TRIGGER wait AFTER INSERT OR UPDATE OR DELETE ON delivery
                     DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait();
                 SELECT pg_advisory_lock({lock})"
            ))
            .await
            .unwrap();
        let breaking = async {
            let waiting = format!("locktype = 'advisory' AND objid = {lock} AND NOT granted");
            until(async || self.place.count("pg_locks", &waiting).await == 1).await;
            self.proxy.cut();
            let let_go = format!("SELECT pg_advisory_unlock({lock})");
            self.sql.batch_execute(&let_go).await.unwrap();
        };
        let (said, ()) = tokio::join!(call(&self.outbox), breaking);
        said
    }
}

/// Who settles is not told that the lease is lost, which would be its own doing: a dead letter would be reported
/// by nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_whose_answer_is_lost_fails() {
    let Some(scene) = Scene::new().await else {
        return;
    };
    let lease = put_leased(&scene.outbox, "a.example", "done").await;
    let dead = Verdict::Dead(Outcome::Failed(AttemptError::Client));
    let settlement = Settlement::new(lease, dead, None);
    let settled = scene.lose_the_answer(async |outbox| outbox.settle(vec![settlement]).await);
    assert!(settled.await.is_err());
    until(async || scene.place.count("delivery", "state = 'dead'").await == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_whose_answer_is_lost_fails() {
    let Some(scene) = Scene::new().await else {
        return;
    };
    let one = new("a.example", "done", false);
    scene.outbox.insert(vec![one]).await.unwrap();
    let all = DeliveryFilter::new();
    let cancelled = scene.lose_the_answer(async |outbox| outbox.cancel(all).await);
    assert!(cancelled.await.is_err());
    until(async || scene.place.count("delivery", "TRUE").await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_whose_answer_is_lost_is_repeated_and_has_its_lease() {
    let Some(scene) = Scene::new().await else {
        return;
    };
    let one = new("a.example", "done", true);
    let inserted = scene.lose_the_answer(async |outbox| outbox.insert(vec![one]).await);
    let lease = inserted.await.unwrap()[0].expect("it is its own");
    assert_eq!(scene.outbox.renew(vec![lease]).await.unwrap(), []);
}
