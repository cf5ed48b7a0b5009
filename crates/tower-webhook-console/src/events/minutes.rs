use std::time::Duration;

use serde_json::{Value, json};

use super::{histogram::Histogram, millis};

const MINUTES: usize = 60;

/// The attempts of the last hour, by minute: a ring of a fixed size.
#[derive(Clone)]
pub(super) struct Minutes(Box<[Minute]>);

#[derive(Clone, Copy)]
struct Minute {
    /// Counted from when listening began. A place in the ring has the minutes of all hours in turn.
    number: u64,
    attempts: u32,
    failures: u32,
    took: Histogram,
}

impl Minute {
    const fn new(number: u64) -> Self {
        Self {
            number,
            attempts: 0,
            failures: 0,
            took: Histogram::new(),
        }
    }
}

impl Minutes {
    pub(super) fn new() -> Self {
        Self(vec![Minute::new(0); MINUTES].into())
    }

    pub(super) fn add(&mut self, number: u64, is_success: bool, took: Duration) {
        let Some(minute) = self.0.get_mut(place_of(number)) else {
            return;
        };
        // Two threads may come in another order than they read the clock in.
        if minute.number < number {
            *minute = Minute::new(number);
        }
        minute.attempts = minute.attempts.saturating_add(1);
        minute.failures = minute.failures.saturating_add(u32::from(!is_success));
        minute.took.add(took);
    }

    /// The oldest minute first; `now` is the last one, which is not over.
    pub(super) fn last_hour(&self, now: u64) -> Value {
        let first = now.saturating_sub(MINUTES as u64 - 1);
        let mut all = Histogram::new();
        let minutes = (first..=now).map(|number| {
            let minute = self.0.get(place_of(number)).copied();
            let minute = minute.filter(|minute| minute.number == number);
            let minute = minute.unwrap_or(Minute::new(number));
            all.merge(&minute.took);
            json!({
                "ago": now - number,
                "attempts": minute.attempts,
                "failures": minute.failures,
                "p50": minute.took.percentile(50).map(millis),
                "p95": minute.took.percentile(95).map(millis),
            })
        });
        let minutes: Value = minutes.collect();
        json!({
            "minutes": minutes,
            "p50": all.percentile(50).map(millis),
            "p95": all.percentile(95).map(millis),
        })
    }
}

fn place_of(number: u64) -> usize {
    (number % MINUTES as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(10);

    #[test]
    fn an_hour_has_its_minutes_and_no_older_ones() {
        let mut minutes = Minutes::new();
        minutes.add(0, true, TOOK);
        minutes.add(59, true, TOOK);
        minutes.add(59, false, TOOK);
        let hour = minutes.last_hour(59);
        let attempts = |hour: &Value| {
            let minutes = hour["minutes"].as_array().unwrap().clone();
            minutes
                .iter()
                .map(|minute| minute["attempts"].as_u64().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(attempts(&hour).len(), 60);
        assert_eq!(attempts(&hour)[0], 1);
        assert_eq!(hour["minutes"][59]["failures"], 1);
        assert_eq!(attempts(&minutes.last_hour(60)).iter().sum::<u64>(), 2);
        minutes.add(60, true, TOOK);
        assert_eq!(attempts(&minutes.last_hour(60)).iter().sum::<u64>(), 3);
        assert_eq!(attempts(&minutes.last_hour(1_000)).iter().sum::<u64>(), 0);
    }

    #[test]
    fn the_first_minutes_are_as_many_as_there_were() {
        let hour = Minutes::new().last_hour(2);
        assert_eq!(hour["minutes"].as_array().unwrap().len(), 3);
        assert_eq!(hour["p50"], Value::Null);
    }
}
