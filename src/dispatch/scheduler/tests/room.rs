use super::*;

/// What an outbox does not keep has nowhere to go.
#[test]
fn only_what_can_go_back_makes_room_and_needs_it() {
    let mut scheduler = scheduler(512, 64);
    let kept_here = |host: &str| Job {
        number: 0,
        ..job(host)
    };
    for job in [kept_here("a"), job("a"), kept_here("a"), kept_here("b")] {
        scheduler.arrive(job, Source::Call);
    }
    assert_eq!(scheduler.waiting_unanswered(), 1);
    assert_eq!(scheduler.evict(), Some(job("a")));
    assert_eq!(scheduler.waiting_unanswered(), 0);
    assert_eq!(scheduler.evict(), None);
}
