//! Files that are deleted or replaced while they are open.

use std::{fs, os::unix::fs::symlink, sync::atomic::Ordering};

use tower_webhook::{DeliveryId, outbox::Outbox};
use tower_webhook_sqlite::{SqliteOutbox, SqliteOutboxError, SqliteOutboxErrorKind as Kind};

use crate::scene::{Folder, Receiver, call, counting, key, until, until_in_file};

/// Durable is what is found again.
#[tokio::test]
async fn a_file_that_is_gone_takes_nothing_more_and_what_it_had_is_delivered() {
    type Fate = fn(&Folder);
    let fates: [(&str, Fate); 6] = [
        ("deleted", |folder| fs::remove_file(folder.file()).unwrap()),
        ("moved", |folder| {
            fs::rename(folder.file(), folder.file().with_extension("old")).unwrap();
        }),
        ("replaced", |folder| {
            let other = Folder::new();
            drop(other.outbox());
            let copy = folder.file().with_extension("copy");
            fs::copy(other.file(), &copy).unwrap();
            fs::rename(copy, folder.file()).unwrap();
        }),
        ("without its log", |folder| {
            fs::remove_file(folder.log()).unwrap()
        }),
        ("without its shared memory", |folder| {
            fs::remove_file(folder.shared_memory()).unwrap();
        }),
        ("all deleted", |folder| {
            for file in [folder.file(), folder.log(), folder.shared_memory()] {
                fs::remove_file(file).unwrap();
            }
        }),
    ];
    for (name, fate) in fates {
        let (folder, receiver) = (Folder::new(), Receiver::start(404).await);
        let (dispatcher, failures) = counting(folder.outbox());
        call(&dispatcher, "before", &receiver.url()).await;
        receiver.gets(1).await;
        until_in_file(|| folder.count("state = 'waiting' AND attempt = 2") == 1).await;
        fate(&folder);
        receiver.answer(200);
        assert_eq!(call(&dispatcher, "after", &receiver.url()).await, 200);
        until(|| failures.load(Ordering::SeqCst) == 1).await;
        until(|| dispatcher.counts().delivered == 2).await;
        let mut ids = receiver.ids();
        ids.sort();
        ids.dedup();
        assert_eq!(ids, ["after", "before"], "{name}");
    }
}

#[tokio::test]
async fn a_list_is_never_read_from_another_file() {
    let folder = Folder::new();
    let outbox = folder.outbox();
    let other = Folder::new();
    drop(other.outbox());
    fs::rename(other.file(), folder.file()).unwrap();
    let error = outbox.get(DeliveryId::fresh());
    let error = error.await.unwrap_err();
    let error = error.downcast::<SqliteOutboxError>();
    assert_eq!(error.unwrap().kind(), Kind::Replaced);
}

#[tokio::test]
async fn a_link_to_the_file_is_no_other_file() {
    let (folder, receiver) = (Folder::new(), Receiver::start(200).await);
    let link = folder.file().with_extension("link");
    symlink(folder.file(), &link).unwrap();
    fs::write(folder.file(), "").unwrap();
    let (dispatcher, failures) = counting(SqliteOutbox::open(&link, key(1)).unwrap());
    for id in ["a", "b"] {
        call(&dispatcher, id, &receiver.url()).await;
    }
    until(|| dispatcher.counts().delivered == 2).await;
    assert_eq!(failures.load(Ordering::SeqCst), 0);
}
