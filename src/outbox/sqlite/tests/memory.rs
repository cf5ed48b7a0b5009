use std::time::Duration;

use super::{builder, delivery, folder, ids, open, settle};
use crate::outbox::Verdict;

#[tokio::test]
async fn payloads_that_are_delivered_have_a_bound() {
    let folder = folder();
    let mut outbox = open(builder(&folder).with_payload_memory(1_500));
    for id in ["a", "b", "c"] {
        let payload = bytes::Bytes::from(vec![7; 1_000]);
        outbox
            .put(delivery(id, "a.example", payload))
            .await
            .unwrap();
    }
    let large = bytes::Bytes::from(vec![7; 9_000]);
    outbox.put(delivery("d", "a.example", large)).await.unwrap();
    for id in ["a", "b", "c", "d"] {
        let mut claims = outbox.next(9).await;
        assert_eq!(ids(&claims), [id]);
        assert!(outbox.is_quiet(Duration::from_millis(50)).await);
        settle(claims.remove(0), Verdict::Delivered).await.unwrap();
    }
}
