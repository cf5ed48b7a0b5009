use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use tower_webhook::{DeliveryId, Dispatcher};

/// Whether calls can be sent here: the outbox can be written, and the process does not drain.
#[derive(Clone)]
pub(crate) struct Readiness(Arc<Shared>);

struct Shared {
    dispatcher: Dispatcher,
    can_be_tried: bool,
    is_draining: AtomicBool,
    /// What was found, and when. Whoever asks meanwhile waits for the same answer.
    found: Mutex<Option<(Instant, bool)>>,
}

/// However often it is asked, the outbox is tried once in this time.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);

impl Readiness {
    pub(super) fn new(dispatcher: Dispatcher, can_be_tried: bool) -> Self {
        Self(Arc::new(Shared {
            dispatcher,
            can_be_tried,
            is_draining: AtomicBool::new(false),
            found: Mutex::default(),
        }))
    }

    pub(crate) fn drain(&self) {
        self.0.is_draining.store(true, Ordering::SeqCst);
    }

    pub(super) async fn is_so(&self) -> bool {
        let Shared {
            dispatcher,
            can_be_tried,
            is_draining,
            found,
        } = &*self.0;
        if !can_be_tried {
            return !is_draining.load(Ordering::SeqCst);
        }
        let mut found = found.lock().await;
        let is_writable = match *found {
            Some((at, is_writable)) if at.elapsed() < AT_MOST_EVERY => is_writable,
            _ => {
                // It writes, and changes nothing: nobody has that id.
                let tried = dispatcher.redeliver(DeliveryId::fresh());
                let is_writable = matches!(timeout(PATIENCE, tried).await, Ok(Ok(_)));
                *found = Some((Instant::now(), is_writable));
                is_writable
            }
        };
        is_writable && !is_draining.load(Ordering::SeqCst)
    }
}
