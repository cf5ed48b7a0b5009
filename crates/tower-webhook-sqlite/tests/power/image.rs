//! What an outbox finds in an image.

use std::path::Path;

use tower_webhook::outbox::{DeliveryFilter, DeliveryState, Outbox, Page, SealingKey};
use tower_webhook_sqlite::SqliteOutbox;

use crate::{camera::Acknowledged, process::digest};

/// Each in folders of its own, which the disk may forget as it does files.
pub(crate) const DATABASE: &str = "service/data/webhooks.db";
pub(crate) const KEY: &str = "secrets/keys/key";

/// What is wrong with an image that lies in this folder. `Ok` where everything acknowledged is there.
pub(crate) fn check(root: &Path, acknowledged: &Acknowledged) -> Result<(), String> {
    // As a process does that is started again.
    for path in [DATABASE, KEY] {
        std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
    }
    let key = SealingKey::from_file_or_new(root.join(KEY));
    let key = key.map_err(|error| format!("the key cannot be read: {error:?}"))?;
    let outbox = SqliteOutbox::open(root.join(DATABASE), key);
    let outbox = outbox.map_err(|error| format!("it does not open: {error:?}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let lost = runtime.block_on(lost(&outbox, acknowledged));
    match &lost[..] {
        [] => Ok(()),
        [first, ..] => Err(format!("{} lost, such as {first}", lost.len())),
    }
}

/// Those of which the record or the payload is not there.
async fn lost(outbox: &SqliteOutbox, acknowledged: &Acknowledged) -> Vec<String> {
    let mut missing = acknowledged.clone();
    let mut page = Page::first(1_000);
    loop {
        let records = outbox.list(DeliveryFilter::new(), page).await.unwrap();
        let Some(last) = records.last() else { break };
        page = page.after(last.id);
        for record in records {
            let id = record.id.to_string();
            let Some(payload) = acknowledged.get(&id) else {
                continue;
            };
            let found = outbox.payload(record.id).await.unwrap();
            let is_whole = found.is_some_and(|found| digest(&found.to_bytes()) == *payload);
            if is_whole && record.state != DeliveryState::Delivered {
                missing.remove(&id);
            }
        }
    }
    missing.into_keys().collect()
}
