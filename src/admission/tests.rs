use tokio::sync::oneshot::error::TryRecvError;

use super::{share::UNIT, *};

fn admission(outstanding: usize, per_host: usize, body: usize, memory: usize) -> Arc<Admission> {
    Arc::new(Admission::new(
        &Limits {
            outstanding,
            outstanding_per_host: per_host,
            outstanding_per_caller: 2,
            body,
            reserved_body: body,
            memory,
        },
        Events::default(),
    ))
}

fn try_reserve(admission: &Arc<Admission>, host: &str) -> Result<Reservation, Refusal> {
    admission.try_reserve(admission.of_host(&host.into()), None)
}

fn try_reserve_of(
    admission: &Arc<Admission>,
    caller: &str,
    host: &str,
) -> Result<Reservation, Refusal> {
    admission.try_reserve(admission.of_host(&host.into()), Some(caller))
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
        assert_eq!(admission.of_host(&host.into()).0.get(), Share::default());
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

#[test]
fn a_caller_has_its_share_however_many_hosts_it_names() {
    let admission = admission(9, 9, 0, 0);
    let first = try_reserve_of(&admission, "one", "a").unwrap();
    let _second = try_reserve_of(&admission, "one", "b").unwrap();
    let third = try_reserve_of(&admission, "one", "c").unwrap_err();
    assert_eq!(third, Refusal::NoRoomForCaller);
    assert_eq!(admission.taken(), 2, "a refusal gives back what it took");
    assert_eq!(
        admission.of_host(&"c".into()).0.get(),
        Share::default(),
        "of the host, too"
    );
    assert!(try_reserve_of(&admission, "other", "c").is_ok());
    assert!(try_reserve(&admission, "c").is_ok(), "nobody in particular");
    drop(first);
    assert!(try_reserve_of(&admission, "one", "c").is_ok());
}

#[test]
fn a_reservation_grows_while_there_is_room() {
    let admission = Arc::new(Admission::new(
        &Limits {
            outstanding: 9,
            outstanding_per_host: 9,
            outstanding_per_caller: 9,
            body: 8 * UNIT,
            reserved_body: UNIT,
            memory: 10 * UNIT,
        },
        Events::default(),
    ));
    let mut grows = try_reserve_of(&admission, "caller", "a").unwrap();
    let other = try_reserve(&admission, "b").unwrap();
    assert_eq!(memory_taken(&admission), 2);
    assert!(grows.grow_to(UNIT, 8 * UNIT));
    assert_eq!(memory_taken(&admission), 2, "there was room already");
    assert!(grows.grow_to(UNIT + 1, 8 * UNIT));
    assert!(grows.grow_to(3 * UNIT, 8 * UNIT));
    assert_eq!(grows.bytes(), 4 * UNIT, "it doubles");
    assert!(grows.grow_to(5 * UNIT, 8 * UNIT));
    assert_eq!(grows.bytes(), 8 * UNIT, "and is no larger than a body");
    assert!(grows.grow_to(9 * UNIT, 9 * UNIT));
    assert!(!grows.grow_to(10 * UNIT, 10 * UNIT), "an eighth is others'");
    drop(other);
    grows.shrink_to(0);
    assert!(grows.grow_to(6 * UNIT, 8 * UNIT));
    let _other = try_reserve(&admission, "b").unwrap();
    assert_eq!(memory_taken(&admission), 7);
    drop(grows);
    assert_eq!(memory_taken(&admission), 1);
    let of_caller = admission.callers.of(&"caller".into());
    assert_eq!(of_caller.0.get(), Share::default());
}

#[test]
fn runs_hold_half_of_all_room() {
    let admission = admission(8, 4, UNIT, 1 << 20);
    let mut reservations = Vec::new();
    let mut cuts = Vec::new();
    for host in ["a", "a", "b", "c"] {
        let mut reservation = try_reserve(&admission, host).unwrap();
        cuts.push(reservation.begin_run());
        reservations.push(reservation);
    }
    assert!(cuts.iter_mut().all(|cut| cut.try_recv().is_err()));
    let mut third_of_a = try_reserve(&admission, "a").unwrap();
    let _cut = third_of_a.begin_run();
    let told = cuts.iter_mut().map(|cut| cut.try_recv().is_ok());
    assert!(told.eq([true, false, false, false]));
    reservations[1].end_run();
    assert!(matches!(cuts[1].try_recv(), Err(TryRecvError::Closed)));
}
