use std::pin::Pin;

use futures_util::FutureExt;
use tokio::{
    sync::oneshot,
    task::{Id, id, yield_now},
};

use super::*;

struct Fake {
    began: oneshot::Sender<Id>,
    until: Pin<Box<dyn Future<Output = ()> + Send>>,
    next: Option<Box<Fake>>,
}

impl Job<()> for Fake {
    async fn run(self, (): &(), _: &mut Timer) -> Option<Self> {
        let _ = self.began.send(id());
        self.until.await;
        self.next.map(|next| *next)
    }
}

fn job(until: impl Future<Output = ()> + Send + 'static) -> (Fake, oneshot::Receiver<Id>) {
    let (began, lane) = oneshot::channel();
    let until = Box::pin(until);
    let next = None;
    (Fake { began, until, next }, lane)
}

fn lanes() -> Lanes<Fake, ()> {
    Lanes::new(Arc::new(Hall::new(())))
}

#[tokio::test]
async fn an_idle_lane_is_used_again() {
    let mut lanes = lanes();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let (job, lane) = job(async {});
        lanes.run(job);
        ids.push(lane.await.unwrap());
        yield_now().await;
    }
    assert_eq!(ids, [ids[0]; 3]);
}

/// A socket that a job has left to others still wakes its lane.
#[tokio::test]
async fn a_lane_that_is_woken_for_nothing_waits_on() {
    let mut lanes = lanes();
    let (waker, woken) = oneshot::channel();
    let mut waker = Some(waker);
    let (first, lane) = job(poll_fn(move |cx| {
        let _ = waker.take().map(|waker| waker.send(cx.waker().clone()));
        Poll::Ready(())
    }));
    lanes.run(first);
    let first = lane.await.unwrap();
    let waker = woken.await.unwrap();
    for _ in 0..3 {
        yield_now().await;
        waker.wake_by_ref();
    }
    yield_now().await;
    assert_eq!(lanes.hall.waiting().idle.len(), 1);
    let (stuck, lane) = job(std::future::pending());
    lanes.run(stuck);
    assert_eq!(lane.await.unwrap(), first);
    waker.wake_by_ref();
    yield_now().await;
    let (other, lane) = job(async {});
    lanes.run(other);
    assert_ne!(lane.await.unwrap(), first);
}

#[tokio::test]
async fn a_busy_lane_is_not_waited_for() {
    let mut lanes = lanes();
    let (stuck, lane) = job(std::future::pending());
    lanes.run(stuck);
    let first = lane.await.unwrap();
    let (other, lane) = job(async {});
    lanes.run(other);
    assert_ne!(lane.await.unwrap(), first);
}

#[tokio::test]
async fn no_more_than_some_stay_idle() {
    let mut lanes = lanes();
    let mut begun = Vec::new();
    for _ in 0..2 * MOST_IDLE {
        let (job, lane) = job(async {});
        lanes.run(job);
        begun.push(lane);
    }
    for lane in begun {
        lane.await.unwrap();
    }
    for _ in 0..MOST_IDLE {
        lanes.ended().await.unwrap();
    }
    assert_eq!(lanes.tasks.len(), MOST_IDLE);
}

#[tokio::test]
async fn a_lane_runs_the_job_that_its_last_one_comes_to() {
    let mut lanes = lanes();
    let (mut first, lane) = job(async {});
    let (second, next_lane) = job(async {});
    first.next = Some(Box::new(second));
    lanes.run(first);
    assert_eq!(lane.await.unwrap(), next_lane.await.unwrap());
}

#[tokio::test]
async fn closed_it_does_not() {
    let mut lanes = lanes();
    let (finish, finished) = oneshot::channel::<()>();
    let (mut first, lane) = job(async { finished.await.unwrap() });
    let (second, next_lane) = job(async {});
    first.next = Some(Box::new(second));
    lanes.run(first);
    lane.await.unwrap();
    lanes.close();
    finish.send(()).unwrap();
    lanes.ended().await.unwrap();
    next_lane.await.unwrap_err();
}

#[tokio::test]
async fn a_lane_that_always_has_a_next_job_lets_others_run() {
    let mut lanes = lanes();
    let (last, lane) = job(async {});
    let first = (0..10_000).fold(last, |next, _| {
        let (mut job, _) = job(async {});
        job.next = Some(Box::new(next));
        job
    });
    lanes.run(first);
    yield_now().await;
    yield_now().await;
    assert!(lane.now_or_never().is_none(), "the last one has not begun");
}

#[tokio::test]
async fn closed_they_end_after_their_jobs() {
    let mut lanes = lanes();
    let (idle, lane) = job(async {});
    lanes.run(idle);
    lane.await.unwrap();
    yield_now().await;
    let (waits, lane) = job(async {});
    lanes.run(waits);
    let (finish, finished) = oneshot::channel::<()>();
    let (busy, _lane) = job(async { finished.await.unwrap() });
    lanes.run(busy);
    lanes.close();
    lanes.ended().await.unwrap();
    lane.await.expect("a job that was handed over is run");
    finish.send(()).unwrap();
    lanes.ended().await.unwrap();
    assert!(lanes.ended().await.is_none());
}

#[tokio::test]
async fn a_panic_ends_its_lane_alone() {
    let mut lanes = lanes();
    let (bad, _lane) = job(async { panic!("as a test") });
    lanes.run(bad);
    lanes.ended().await.unwrap();
    let (good, lane) = job(async {});
    lanes.run(good);
    lane.await.unwrap();
}

#[tokio::test]
async fn a_lane_that_is_cut_off_before_it_runs_drops_what_it_was_called_for() {
    let mut lanes = lanes();
    let (first, lane) = job(async {});
    lanes.run(first);
    lane.await.unwrap();
    yield_now().await;
    let (second, lane) = job(async {});
    lanes.run(second);
    lanes.shutdown().await;
    drop(lanes);
    lane.await.unwrap_err();
}

/// Of a runtime that ends, tasks are about for a while.
#[tokio::test]
async fn a_lane_of_an_earlier_opening_takes_no_job() {
    let earlier = lanes();
    let hall = Arc::clone(&earlier.hall);
    let (finish, finished) = oneshot::channel::<()>();
    let (busy, lane) = job(async { finished.await.unwrap() });
    let busy = tokio::spawn(super::lane(Arc::clone(&hall), earlier.opening, busy));
    lane.await.unwrap();
    drop(earlier);
    let _later = Lanes::new(Arc::clone(&hall));
    finish.send(()).unwrap();
    busy.await.unwrap();
    let (other, _lane) = job(async {});
    assert!(hall.hand_over(other).is_some());
}

#[tokio::test]
async fn a_closed_hall_gives_a_job_back() {
    let hall = Arc::new(Hall::new(()));
    assert!(hall.hand_over(job(async {}).0).is_some(), "never opened");
    for _ in 0..2 {
        let mut lanes = Lanes::new(Arc::clone(&hall));
        let (first, lane) = job(async {});
        lanes.run(first);
        lane.await.unwrap();
        yield_now().await;
        let (second, lane) = job(async {});
        assert!(hall.hand_over(second).is_none(), "to the idle lane");
        lane.await.unwrap();
        drop(lanes);
        assert!(hall.hand_over(job(async {}).0).is_some());
    }
}

#[tokio::test]
async fn shut_down_they_drop_what_they_have() {
    let mut lanes = lanes();
    let (dropped, is_dropped) = oneshot::channel::<()>();
    let (stuck, lane) = job(async move {
        std::future::pending::<()>().await;
        drop(dropped);
    });
    lanes.run(stuck);
    lane.await.unwrap();
    lanes.shutdown().await;
    is_dropped.await.unwrap_err();
    assert!(lanes.ended().await.is_none());
}
