use super::*;

#[test]
fn only_what_may_go_makes_room() {
    let mut scheduler = scheduler(512, 64);
    for host in ["a", "a", "b"] {
        scheduler.arrive(job(host), Source::Call);
    }
    assert!(scheduler.evict(|_| false).is_none());
    let gone = scheduler.evict(|job| job.host.as_str() == "b");
    assert_eq!(gone.unwrap().host.as_str(), "b");
}
