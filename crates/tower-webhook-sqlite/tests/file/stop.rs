//! Clean stops, one after the other: whoever comes next finds everything written, and nothing leased.

use std::time::Duration;

use crate::scene::{Folder, Receiver, SILENT, call, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_stop_leaves_no_lease() {
    let (folder, receiver) = (Folder::new(), Receiver::start(SILENT).await);
    let filled = folder.dispatcher();
    for n in 0..100 {
        call(&filled, &format!("run-{n}"), &receiver.url()).await;
    }
    filled.shutdown(Duration::ZERO).await;
    assert_eq!(folder.count("state = 'leased'"), 0);
    drop(filled);
    assert_eq!(folder.count("state = 'waiting'"), 100);

    for stop in 0..40_u64 {
        let dispatcher = folder.dispatcher();
        dispatcher.start();
        let calling = {
            let (dispatcher, url) = (dispatcher.clone(), receiver.url());
            tokio::spawn(async move { call(&dispatcher, &format!("late-{stop}"), &url).await })
        };
        // At any point of fetching and leasing what is there.
        let before = receiver.posts().len();
        if stop % 3 > 0 {
            until(|| receiver.posts().len() > before).await;
        }
        dispatcher.shutdown(Duration::from_millis(stop % 5)).await;
        let leased = folder.count("state = 'leased'");
        assert_eq!(leased, 0, "after stop {stop}");
        calling.await.unwrap();
        drop(dispatcher);
        assert_eq!(folder.count("state = 'leased'"), 0);
    }
}

/// The outbox waits for its thread: the log is in the file, and the file is nobody's.
#[tokio::test]
async fn what_is_dropped_without_a_shutdown_leaves_no_lease_either() {
    let (folder, receiver) = (Folder::new(), Receiver::start(SILENT).await);
    for n in 0..5 {
        let outbox = folder.outbox();
        let runtime = std::thread::spawn({
            let url = receiver.url();
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                let dispatcher = crate::scene::dispatcher().with_outbox(outbox).build();
                runtime.block_on(call(&dispatcher, &format!("run-{n}"), &url));
                drop(runtime);
                drop(dispatcher);
            }
        });
        runtime.join().unwrap();
        assert!(!folder.log().exists(), "the thread has closed the file");
        assert_eq!(folder.count("state = 'leased'"), 0);
        assert_eq!(folder.count("state = 'waiting'"), n + 1);
    }
}
