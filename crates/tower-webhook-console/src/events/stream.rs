use std::{
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::ConsoleEvents;

/// How often a stream looks whether something has changed.
const PACE: Duration = Duration::from_secs(1);
/// Something is said so often at least: proxies cut what is silent.
const SILENCE: Duration = Duration::from_secs(10);
/// A stream ends then, and the page asks for another one. Servers that shut down wait for what is open,
/// and whoever may not look any more is asked again.
const LIFE: Duration = Duration::from_secs(30);

/// Server-sent events: that something has changed, at most once a second.
pub(crate) struct ChangeStream {
    events: ConsoleEvents,
    seen: Option<u64>,
    said: Instant,
    ends: Instant,
    ticks: Interval,
}

impl ChangeStream {
    pub(crate) fn new(events: ConsoleEvents) -> Self {
        let mut ticks = tokio::time::interval(PACE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let now = Instant::now();
        Self {
            events,
            seen: None,
            said: now,
            ends: now + LIFE,
            ticks,
        }
    }

    /// `None` at its end.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            let now = ready!(self.ticks.poll_tick(cx));
            if now >= self.ends {
                return Poll::Ready(None);
            }
            let changes = self.events.changes();
            let text = match self.seen {
                Some(seen) if seen != changes => format!("data: {changes}\n\n"),
                Some(_) if now >= self.said + SILENCE => ":\n\n".to_owned(),
                Some(_) => continue,
                // The page has read the list before or reads it now.
                None => format!("retry: 500\ndata: {changes}\n\n"),
            };
            self.seen = Some(changes);
            self.said = now;
            return Poll::Ready(Some(text.into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tells_changes_and_keeps_the_connection_and_ends() {
        let events = ConsoleEvents::new();
        let mut stream = ChangeStream::new(events.clone());
        let began = Instant::now();
        let mut told = Vec::new();
        while let Some(bytes) = poll_fn(|cx| stream.poll_next(cx)).await {
            told.push((
                began.elapsed().as_secs(),
                String::from_utf8(bytes.into()).unwrap(),
            ));
            if told.len() == 1 {
                let changes = &events.heard.changes;
                changes.fetch_add(2, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let told: Vec<_> = told.iter().map(|(at, text)| (*at, &**text)).collect();
        let expected = [
            (0, "retry: 500\ndata: 0\n\n"),
            (1, "data: 2\n\n"),
            (11, ":\n\n"),
            (21, ":\n\n"),
        ];
        assert_eq!(told, expected);
        assert_eq!(began.elapsed().as_secs(), 30);
    }
}
