use shuttle::{
    future::block_on,
    sync::{Barrier, mpsc},
    thread,
};

use super::*;
use crate::sync::in_many_orders;

enum Fake {
    Short(mpsc::Sender<()>),
    /// Runs until all of its kind do.
    Long(mpsc::Sender<()>, Arc<Barrier>),
}

impl Job<()> for Fake {
    async fn run(self, (): &(), _: &mut Timer) -> Option<Self> {
        let ran = match self {
            Self::Short(ran) => ran,
            Self::Long(ran, all) => {
                all.wait();
                ran
            }
        };
        ran.send(()).unwrap();
        None
    }
}

/// Has some short jobs run, then some long ones, and lets all lanes end after `closing`, which says
/// how many it has seen run.
fn run(closing: impl FnOnce(&mpsc::Receiver<()>) -> usize) {
    let hall = Arc::new(Hall::new(()));
    let opening = hall.open();
    let (ran, runs) = mpsc::channel();
    let all = Arc::new(Barrier::new(2));
    let mut lanes = Vec::new();
    for number in 0..5 {
        let job = match number {
            0..3 => Fake::Short(ran.clone()),
            _ => Fake::Long(ran.clone(), Arc::clone(&all)),
        };
        if let Some(job) = hall.hand_over(job) {
            let lane = lane(Arc::clone(&hall), opening, job);
            lanes.push(thread::spawn(|| block_on(lane)));
        }
    }
    let seen = closing(&runs);
    hall.close(opening);
    for lane in lanes {
        lane.join().unwrap();
    }
    assert!(hall.waiting().jobs.is_empty());
    drop(ran);
    assert_eq!(seen + runs.iter().count(), 5, "each is run, and once");
}

#[test]
fn a_job_that_is_handed_over_is_run_and_waits_for_no_other() {
    // Nobody closes before all have run: what no lane takes is waited for for ever.
    in_many_orders(|| run(|runs| runs.iter().take(5).count()));
}

#[test]
fn lanes_that_are_closed_run_what_was_handed_over() {
    in_many_orders(|| run(|_| 0));
}
