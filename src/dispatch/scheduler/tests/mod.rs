mod model;
mod permits;
mod room;
mod waking;

use super::*;

const TIME: Duration = Duration::from_secs(15);

#[derive(Clone, Debug, PartialEq)]
struct Job {
    host: Host,
    number: usize,
}

impl Due for Job {
    fn host(&self) -> &Host {
        &self.host
    }

    fn can_go_back(&self) -> bool {
        can_go_back(self.number)
    }
}

fn can_go_back(number: usize) -> bool {
    !number.is_multiple_of(3)
}

fn scheduler(attempts: usize, per_host: usize) -> Scheduler<Job> {
    Scheduler::new(SchedulerLimits {
        attempts,
        per_host,
        time: TIME,
    })
}

fn job(name: &str) -> Job {
    Job {
        host: Host::from(name),
        number: 1,
    }
}

fn start_all(scheduler: &mut Scheduler<Job>) -> Vec<Job> {
    let now = Instant::now();
    std::iter::from_fn(|| scheduler.start(now)).collect()
}
