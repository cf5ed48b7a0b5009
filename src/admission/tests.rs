use super::{share::UNIT, *};

fn admission(outstanding: usize, per_host: usize, body: usize, memory: usize) -> Arc<Admission> {
    Arc::new(Admission::new(
        &Limits {
            outstanding,
            outstanding_per_host: per_host,
            body,
            memory,
        },
        Events::default(),
    ))
}

fn try_reserve(admission: &Arc<Admission>, host: &str) -> Result<Reservation, Refusal> {
    admission.try_reserve(admission.of_host(&host.into()))
}

fn refusal(admission: &Arc<Admission>, host: &str) -> Option<Refusal> {
    try_reserve(admission, host).err()
}

fn memory_taken(admission: &Admission) -> u32 {
    admission.taken.get().units
}

#[test]
fn slots_run_out_and_come_back() {
    let admission = admission(2, 2, 0, 0);
    let first = try_reserve(&admission, "a").unwrap();
    let _second = try_reserve(&admission, "b").unwrap();
    assert_eq!(refusal(&admission, "c"), Some(Refusal::NoRoom));
    assert_eq!(admission.taken(), 2);
    drop(first);
    assert_eq!(refusal(&admission, "c"), None);
}

#[test]
fn a_host_has_its_share() {
    let admission = admission(9, 1, 0, 0);
    let _room = try_reserve(&admission, "a").unwrap();
    assert_eq!(refusal(&admission, "a"), Some(Refusal::NoRoomForHost));
    assert_eq!(refusal(&admission, "b"), None);
    assert_eq!(admission.taken(), 1, "a refusal gives back what it took");
}

#[test]
fn a_host_leaves_an_eighth_of_the_memory_to_others() {
    let admission = admission(99, 99, 4 * UNIT, 12 * UNIT);
    let mut rooms = vec![
        try_reserve(&admission, "a").unwrap(),
        try_reserve(&admission, "a").unwrap(),
    ];
    assert_eq!(refusal(&admission, "a"), Some(Refusal::NoRoomForHost));
    rooms.push(try_reserve(&admission, "b").unwrap());
    assert_eq!(memory_taken(&admission), 12);
    rooms[0].shrink_to(0);
    rooms.push(try_reserve(&admission, "a").unwrap());
    assert_eq!(memory_taken(&admission), 12);
    drop(rooms);
    assert_eq!(admission.taken.get(), Share::default());
    for host in ["a", "b"] {
        assert_eq!(admission.hosts.of(&host.into()).0.get(), Share::default());
    }
}

#[test]
fn the_surplus_of_memory_is_given_back() {
    let admission = admission(9, 9, 4 * UNIT, 4 * UNIT);
    let mut room = try_reserve(&admission, "a").unwrap();
    assert_eq!(refusal(&admission, "a"), Some(Refusal::NoRoom));
    room.shrink_to(1);
    assert_eq!(memory_taken(&admission), 1);
    room.shrink_to(4 * UNIT);
    assert_eq!(memory_taken(&admission), 1, "never grows");
    drop(room);
    assert_eq!(refusal(&admission, "a"), None);
}

#[tokio::test]
async fn closing_refuses_and_waits() {
    let admission = admission(9, 9, UNIT, UNIT);
    let room = try_reserve(&admission, "a").unwrap();
    admission.close();
    assert_eq!(refusal(&admission, "a"), Some(Refusal::NoRoom));
    let waiting = admission.all_given_back();
    tokio::pin!(waiting);
    assert!(futures::poll!(&mut waiting).is_pending());
    drop(room);
    waiting.await;
}

#[test]
fn limits_that_no_number_of_32_bits_holds_are_no_limits() {
    let admission = admission(usize::MAX, usize::MAX, 0, usize::MAX);
    let all = u32::MAX;
    assert_eq!(admission.limit.slots, all);
    assert_eq!(admission.limit.units, all);
    let mut room = try_reserve(&admission, "a").unwrap();
    room.shrink_to(0);
    assert_eq!(admission.taken(), 1);
}

#[test]
fn slots_and_memory_do_not_run_into_each_other() {
    let taken = Tally::default();
    let share = |slots, units| Share { slots, units };
    let limit = share(u32::MAX, u32::MAX);
    assert!(taken.try_take(share(1, u32::MAX), limit));
    assert!(!taken.try_take(share(0, 1), limit));
    assert!(taken.try_take(share(u32::MAX - 1, 0), limit));
    assert!(!taken.try_take(share(1, 0), limit));
    assert_eq!(taken.give_back(share(1, 0)), share(u32::MAX - 1, u32::MAX));
    assert_eq!(
        taken.give_back(share(0, 2)),
        share(u32::MAX - 1, u32::MAX - 2)
    );
}
