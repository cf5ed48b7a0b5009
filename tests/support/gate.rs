//! Holds handlers back until the test lets them on.

use tokio::sync::{
    mpsc::{self, UnboundedReceiver, UnboundedSender},
    watch,
};

use super::soon;

/// The handlers' side.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    arrived: UnboundedSender<()>,
    open: watch::Receiver<bool>,
}

/// The test's side.
#[derive(Debug)]
pub(crate) struct Keeper {
    arrived: UnboundedReceiver<()>,
    open: watch::Sender<bool>,
}

pub(crate) fn gate() -> (Gate, Keeper) {
    let (arrive, arrived) = mpsc::unbounded_channel();
    let (open, opened) = watch::channel(false);
    let gate = Gate {
        arrived: arrive,
        open: opened,
    };
    (gate, Keeper { arrived, open })
}

impl Gate {
    /// Says that it is here and waits until the gate is open.
    pub(crate) async fn pass(mut self) {
        self.arrived.send(()).unwrap();
        self.open.wait_for(|open| *open).await.unwrap();
    }
}

impl Keeper {
    /// Waits until one more has arrived.
    pub(crate) async fn arrival(&mut self) {
        soon("an arrival at the gate", self.arrived.recv())
            .await
            .unwrap();
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }
}

/// Tells that it was dropped.
#[derive(Debug)]
pub(crate) struct TellDrop(pub(crate) UnboundedSender<()>);

impl Drop for TellDrop {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}
