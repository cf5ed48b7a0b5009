use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::{
    task::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

/// `start` plus `time`, which counts as at most 30 years: some clocks cannot represent a much later
/// `Instant`, and the addition would panic.
pub(crate) fn deadline(start: Instant, time: Duration) -> Instant {
    const LONGEST: Duration = Duration::from_secs(30 * 365 * 86_400);
    start + time.min(LONGEST)
}

/// Limits the time of one future after another. Setting a timer and cancelling it each take a lock.
/// So it stays as it was set for an earlier future, and is put off only once it has fired.
#[derive(Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// The waker that is registered with it.
    waker: Option<Waker>,
}

pin_project! {
    /// A future with a deadline. Resolves to `None` if the deadline passes first.
    ///
    /// Not an `async` block, which would take the future's size twice.
    pub(crate) struct Within<'a, F> {
        #[pin]
        future: F,
        timer: &'a mut Timer,
        deadline: Instant,
    }
}

impl<F: Future> Future for Within<'_, F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Some(output));
        }
        ready!(this.timer.poll(*this.deadline, cx));
        Poll::Ready(None)
    }
}

impl Timer {
    pub(crate) fn within<F: Future>(&mut self, deadline: Instant, future: F) -> Within<'_, F> {
        Within {
            future,
            timer: self,
            deadline,
        }
    }

    fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        // Invariant: on `Pending`, the timer is set to fire no later than the deadline, and to wake
        // this task. If it fires early, this is polled again and puts it off.
        let wakes_us = |waker: &Waker| waker.will_wake(cx.waker());
        if sleep.deadline() <= deadline
            && !sleep.is_elapsed()
            && self.waker.as_ref().is_some_and(wakes_us)
        {
            return Poll::Pending;
        }
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        self.waker = Some(cx.waker().clone());
        // Unconstrained: with the task's budget used up, it would return without registering the
        // waker, and the next poll would rely on a timer that wakes nobody.
        pin!(unconstrained(sleep)).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn, ready};

    use tokio::time::{sleep, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn each_future_has_its_own_time() {
        let mut timer = Timer::default();
        for seconds in [3, 1, 5, 5] {
            let began = Instant::now();
            let over = timer
                .within(began + seconds * SECOND, pending::<()>())
                .await;
            assert_eq!((over, began.elapsed()), (None, seconds * SECOND));
            let until = deadline(Instant::now(), seconds * SECOND);
            let slept = timer.within(until, sleep(SECOND / 2)).await;
            assert_eq!(slept, Some(()));
        }
    }

    /// Two tasks in turn, which do not wake each other.
    #[tokio::test(start_paused = true)]
    async fn whoever_polled_last_is_woken() {
        let mut timer = Timer::default();
        for _ in 0..3 {
            let until = deadline(Instant::now(), SECOND);
            let waits = tokio::spawn(async move {
                let over = timer.within(until, pending::<()>()).await;
                (over, timer)
            });
            let (over, back) = timeout(5 * SECOND, waits).await.unwrap().unwrap();
            assert_eq!((over, Instant::now()), (None, until));
            timer = back;
            // Set, then abandoned before it fires.
            let until = deadline(Instant::now(), 3 * SECOND);
            let left = timeout(SECOND, timer.within(until, pending::<()>())).await;
            assert!(left.is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_is_told_to_let_others_run_is_woken_all_the_same() {
        let mut timer = Timer::default();
        let until = deadline(Instant::now(), SECOND);
        let busy = poll_fn(|cx| {
            while tokio::task::coop::has_budget_remaining() {
                let _ = pin!(tokio::task::coop::consume_budget()).poll(cx);
            }
            Poll::<()>::Pending
        });
        let over = timeout(5 * SECOND, timer.within(until, busy)).await;
        assert_eq!((over.unwrap(), Instant::now()), (None, until));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_ready_needs_no_time() {
        let mut timer = Timer::default();
        let now = Instant::now();
        assert_eq!(timer.within(now, ready(1)).await, Some(1));
        let never = deadline(now, Duration::MAX);
        assert_eq!(timer.within(never, ready(2)).await, Some(2));
        assert!(timer.sleep.is_none());
    }
}
