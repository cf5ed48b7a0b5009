use super::*;

fn admission(outstanding: usize, per_host: usize, body: usize, memory: usize) -> Arc<Admission> {
    Arc::new(Admission::new(&Limits {
        outstanding,
        outstanding_per_host: per_host,
        body,
        memory,
    }))
}

fn refusal(admission: &Arc<Admission>, host: &str) -> Option<Refusal> {
    admission.try_admit(&host.into()).err()
}

fn memory_taken(admission: &Admission) -> usize {
    admission.memory.taken.load(Ordering::SeqCst)
}

#[test]
fn places_run_out_and_come_back() {
    let admission = admission(2, 2, 0, 0);
    let first = admission.try_admit(&"a".into()).unwrap();
    let _second = admission.try_admit(&"b".into()).unwrap();
    assert_eq!(refusal(&admission, "c"), Some(Refusal::NoRoom));
    assert_eq!(admission.taken(), 2);
    drop(first);
    assert_eq!(refusal(&admission, "c"), None);
}

#[test]
fn a_host_has_its_share() {
    let admission = admission(9, 1, 0, 0);
    let _room = admission.try_admit(&"a".into()).unwrap();
    assert_eq!(refusal(&admission, "a"), Some(Refusal::NoRoomForHost));
    assert_eq!(refusal(&admission, "b"), None);
    assert_eq!(admission.taken(), 1, "a refusal gives back what it took");
}

#[test]
fn a_host_leaves_an_eighth_of_the_memory_to_others() {
    let admission = admission(99, 99, 4 * UNIT, 12 * UNIT);
    let mut rooms = vec![
        admission.try_admit(&"a".into()).unwrap(),
        admission.try_admit(&"a".into()).unwrap(),
    ];
    assert_eq!(refusal(&admission, "a"), Some(Refusal::NoRoomForHost));
    rooms.push(admission.try_admit(&"b".into()).unwrap());
    assert_eq!(memory_taken(&admission), 12);
    rooms[0].shrink_to(0);
    rooms.push(admission.try_admit(&"a".into()).unwrap());
    assert_eq!(memory_taken(&admission), 12);
    drop(rooms);
    assert_eq!(
        (memory_taken(&admission), admission.hosts.hosts().len()),
        (0, 0)
    );
}

#[test]
fn the_surplus_of_memory_is_given_back() {
    let admission = admission(9, 9, 4 * UNIT, 4 * UNIT);
    let mut room = admission.try_admit(&"a".into()).unwrap();
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
    let room = admission.try_admit(&"a".into()).unwrap();
    admission.close();
    assert_eq!(refusal(&admission, "a"), Some(Refusal::NoRoom));
    let waiting = admission.all_given_back();
    tokio::pin!(waiting);
    assert!(futures::poll!(&mut waiting).is_pending());
    drop(room);
    waiting.await;
}
