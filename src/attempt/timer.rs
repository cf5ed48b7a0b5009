use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

/// The moment after that time. An `Instant` that is later than some clocks can tell cannot be made:
/// at most 30 years.
pub(crate) fn deadline(start: Instant, time: Duration) -> Instant {
    const LONGEST: Duration = Duration::from_secs(30 * 365 * 86_400);
    start + time.min(LONGEST)
}

/// Gives one future after the other its time. To put a timer off costs next to nothing; to set
/// one and to take it back, a lock each.
#[derive(Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

pin_project! {
    /// A future and the time that it has. Resolves to `None` when the time is over first.
    ///
    /// Not an `async` block: that would take the future's size twice.
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
        ready!(this.timer.set(*this.deadline).poll(cx));
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

    fn set(&mut self, deadline: Instant) -> Pin<&mut Sleep> {
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::sleep;

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
