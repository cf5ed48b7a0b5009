use std::time::Duration;

use tempfile::TempDir;
use tower_webhook::{
    endpoint::Host,
    outbox::{Outbox, Want},
};

use super::{builder, folder, sql};

/// So many rows that are due, of hosts that this SQL expression names by the row's number, `n`.
fn fill(folder: &TempDir, rows: usize, host: &str) {
    let columns = "id, request_id, state, host, status, envelope, payload_len, accepted_at, due_at";
    sql(folder)
        .execute_batch(&format!(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {rows})
             INSERT INTO delivery ({columns})
                 SELECT printf('00000000-0000-7000-8000-%012d', n), 'a', 'waiting', {host}, 200,
                     x'', 0, 0, n
                 FROM n;
             INSERT INTO payload SELECT seq, x'' FROM delivery;"
        ))
        .unwrap();
}

/// However many hosts are saturated, the one that is not has its turn, and no call looks at them
/// all.
#[tokio::test]
async fn one_host_among_thousands_that_are_saturated_has_its_turn() {
    const HOSTS: usize = 3_000;
    let folder = folder();
    let outbox = builder(&folder).open().unwrap();
    fill(&folder, 20 * HOSTS, &format!("'h' || (n % {HOSTS})"));
    let mut want = Want::up_to(50);
    for number in 0..HOSTS {
        if number != 1_234 {
            want.of_host.insert(Host::from(&*format!("h{number}")), 0);
        }
    }
    let due = outbox.fetch(want).await.unwrap();
    assert_eq!(due.deliveries.len(), 20);
    for leased in &due.deliveries {
        assert_eq!(leased.stored.host.as_str(), "h1234");
    }
    assert!(due.more);
}

#[tokio::test]
async fn each_host_gets_its_number() {
    let folder = folder();
    let outbox = builder(&folder).open().unwrap();
    fill(
        &folder,
        5_000,
        "CASE WHEN n <= 4000 THEN 'dead' ELSE 'h' || (n % 10) END",
    );
    let mut want = Want::up_to(1_000);
    want.of_other_hosts = 4;
    want.of_host.insert(Host::from("dead"), 2);
    let due = outbox.fetch(want).await.unwrap();
    let of = |host: &str| {
        let hosts = due
            .deliveries
            .iter()
            .map(|leased| leased.stored.host.as_str());
        hosts.filter(|known| *known == host).count()
    };
    assert_eq!(due.deliveries.len(), 2 + 10 * 4);
    assert_eq!((of("dead"), of("h3")), (2, 4));
}

/// Accepting goes on between the steps of what changes many rows.
#[tokio::test]
async fn a_redelivery_of_many_thousands_holds_nobody_up() {
    let folder = folder();
    let outbox = builder(&folder).open().unwrap();
    fill(&folder, 30_000, "'a'");
    sql(&folder)
        .execute_batch("UPDATE delivery SET state = 'dead', died_at = 1000 * unixepoch()")
        .unwrap();
    let all = tower_webhook::outbox::DeliveryFilter::new();
    let redelivering = outbox.redeliver(all);
    let mut redelivering = std::pin::pin!(redelivering);
    let mut others = 0;
    let redelivered = loop {
        tokio::select! {
            biased;
            number = &mut redelivering => break number.unwrap(),
            renewed = outbox.renew(Vec::new()) => {
                renewed.unwrap();
                others += 1;
            }
        }
        tokio::time::sleep(Duration::from_micros(100)).await;
    };
    assert_eq!(redelivered, 30_000);
    assert!(others > 10, "{others} others had their turn meanwhile");
}
