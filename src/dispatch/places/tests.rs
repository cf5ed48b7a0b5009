use futures_util::FutureExt;

use super::*;

fn heard(ear: &mut Listening) -> Freed {
    let mut freed = Freed::default();
    ear.take(&mut freed);
    freed
}

fn answered(mut place: Place) {
    place.host_has_answered();
}

#[test]
fn a_host_has_as_much_room_as_it_gets_one_by_one() {
    for (limit, per_host) in [(1, 1), (2, 9), (9, 2), (10, 10), (512, 64), (512, 512)] {
        for before in 0..4.min(limit) {
            let places = Places::new(limit, per_host);
            let take = |host: &str| places.take(host.into());
            let mut taken: Vec<_> = (0..before).map(|n| take(&n.to_string())).collect();
            let room = places.room(&"host".into());
            assert!(room > 0, "a host without attempts finds a place");
            for left in (0..room).rev() {
                taken.push(take("host"));
                assert_eq!(
                    places.room(&"host".into()) > 0,
                    left > 0,
                    "{limit} {per_host} {left}"
                );
            }
        }
    }
}

#[test]
fn a_host_that_answers_has_more_room() {
    let places = Places::new(512, 64);
    let take = || places.take("host".into());
    let mut taken: Vec<_> = (0..UNANSWERED).map(|_| take()).collect();
    assert_eq!(places.room(&"host".into()), 0);
    for answers in 1..=100 {
        answered(taken.remove(0));
        taken.extend((0..places.room(&"host".into())).map(|_| take()));
        assert_eq!(taken.len(), (UNANSWERED + answers).min(64));
    }
}

#[test]
fn a_host_keeps_a_place_that_nobody_else_waits_for() {
    let places = Places::new(512, 64);
    let take = || places.take("host".into());
    let mut taken: Vec<_> = (0..63).map(|_| take()).collect();
    assert!(
        !taken[0].is_the_hosts(),
        "an answer may bring it another one"
    );
    taken.push(take());
    assert!(taken[0].is_the_hosts());
    places.want_any();
    assert!(!taken[0].is_the_hosts());
}

/// Two workers look and take in two steps: a host can come to have more than it may.
#[test]
fn a_place_too_many_is_not_kept() {
    let places = Places::new(512, 1);
    let place = places.take("host".into());
    assert!(place.is_the_hosts());
    let one_more = places.take("host".into());
    assert!(!one_more.is_the_hosts());
    drop(one_more);
    assert!(place.is_the_hosts());
}

#[test]
fn a_host_keeps_no_place_that_another_worker_may_want_for_it() {
    let places = Places::new(512, 1);
    let _ear = places.listen();
    let place = places.take("host".into());
    assert_eq!(places.room(&"host".into()), 0);
    assert!(place.is_the_hosts(), "its own worker wants it");
    let other = places.listen();
    assert!(!place.is_the_hosts());
    drop(other);
    assert!(place.is_the_hosts());
}

#[test]
fn hosts_that_stall_leave_room_for_many_others() {
    let places = Places::new(512, 64);
    let mut taken = Vec::new();
    for host in 0..100 {
        let host = Host::from(&*host.to_string());
        while places.room(&host) > 0 {
            taken.push(places.take(host.clone()));
        }
    }
    assert_eq!(taken.len(), 100 * UNANSWERED);
    assert_eq!(
        places.room(&"another".into()),
        UNANSWERED,
        "as if none stalled"
    );
}

#[test]
fn past_the_workers_there_is_no_more_than_for_them() {
    for (limit, per_host) in [(1, 1), (9, 2), (512, 64)] {
        let places = Places::new(limit, per_host);
        let mut taken = Vec::new();
        for host in ["a", "b"].map(Host::from) {
            let room = places.room(&host);
            taken.extend(std::iter::from_fn(|| places.try_take(&host)));
            assert_eq!(
                taken.iter().filter(|place| place.host == host).count(),
                room
            );
        }
        drop(taken);
        assert_eq!(places.free(), limit);
    }
}

#[test]
fn past_the_workers_nothing_is_taken_that_they_want_or_may_take() {
    let places = Places::new(9, 9);
    let host = Host::from("host");
    let claiming = places.claiming();
    assert!(places.try_take(&host).is_none());
    drop(claiming);
    places.want_any();
    assert!(places.try_take(&host).is_none());
    drop(places.take("other".into()));
    assert!(places.try_take(&host).is_some(), "the workers have heard");
}

/// Else whoever comes later could always be faster than a worker that is told.
#[test]
fn a_place_that_was_wanted_is_the_workers_until_they_have_looked() {
    let places = Places::new(2, 2);
    let (mut ear, mut other) = (places.listen(), places.listen());
    let full: Vec<_> = (0..2).map(|_| places.take("host".into())).collect();
    assert_eq!(places.room(&"waits".into()), 0);
    drop(full);
    let later = Host::from("later");
    let taken = || places.try_take(&later).is_some();
    assert!(!taken(), "two workers were told");
    for ear in [&mut ear, &mut other] {
        assert!(!taken());
        assert!(heard(ear).any);
        assert!(!taken());
        ear.has_looked();
        ear.has_looked();
    }
    assert!(taken());
}

#[test]
fn a_worker_that_ends_keeps_nobody_from_a_place() {
    let places = Places::new(1, 1);
    for heard_of_it in [false, true] {
        let mut ear = places.listen();
        let place = places.take("host".into());
        assert_eq!(places.free(), 0);
        drop(place);
        assert!(places.try_take(&"later".into()).is_none());
        assert!(!heard_of_it || heard(&mut ear).any);
        drop(ear);
        assert!(places.try_take(&"later".into()).is_some());
    }
}

#[test]
fn whoever_finds_no_place_hears_of_the_next() {
    let places = Places::new(1, 1);
    let mut ear = places.listen();
    let place = places.take("host".into());
    drop(place);
    assert!(ear.freed().now_or_never().is_none(), "nobody wanted it");

    let place = places.take("host".into());
    assert_eq!(places.free(), 0);
    drop(place);
    assert!(ear.freed().now_or_never().is_some());
    assert!(heard(&mut ear).any);
}

#[test]
fn whoever_finds_no_room_for_a_host_hears_of_its_places_alone() {
    let places = Places::new(100, 1);
    let mut ear = places.listen();
    let place = places.take("full".into());
    let other = places.take("other".into());
    assert_eq!(places.room(&"full".into()), 0);
    drop(other);
    assert!(ear.freed().now_or_never().is_none());
    drop(place);
    assert!(ear.freed().now_or_never().is_some());
    let freed = heard(&mut ear);
    assert_eq!((freed.any, freed.hosts), (false, vec!["full".into()]));
}

#[test]
fn a_host_that_has_its_share_hears_of_any_place() {
    let places = Places::new(8, 8);
    let mut ear = places.listen();
    let _own = places.take("host".into());
    let mut others: Vec<_> = (0..5)
        .map(|n| places.take((&*n.to_string()).into()))
        .collect();
    assert_eq!(
        places.room(&"host".into()),
        0,
        "one is its own, two are free"
    );
    others.clear();
    assert!(ear.freed().now_or_never().is_some());
    assert!(heard(&mut ear).any);
    assert_eq!(places.room(&"host".into()), 2);
}

/// Giving back races with looking and wanting: a place that is not heard of would be waited
/// for for ever. The looks sweep over the moment at which it is given back.
#[test]
fn no_place_is_given_back_unheard() {
    let (give_back, given) = std::sync::mpsc::channel::<Place>();
    let giving_back = std::thread::spawn(move || given.into_iter().for_each(drop));
    for (limit, per_host) in [(1, 1), (9, 1)] {
        let places = Places::new(limit, per_host);
        let ear = places.listen();
        for round in 0..50_000 {
            give_back.send(places.take("host".into())).unwrap();
            for _ in 0..round % 200 {
                std::hint::spin_loop();
            }
            while places.free() == 0 || places.room(&"host".into()) == 0 {
                futures::executor::block_on(ear.freed());
            }
        }
    }
    drop(give_back);
    giving_back.join().unwrap();
}

#[test]
fn all_who_listen_hear_it() {
    let places = Places::new(1, 1);
    let place = places.take("host".into());
    let mut ears = [places.listen(), places.listen()];
    drop(places.listen());
    assert_eq!(places.room(&"host".into()), 0);
    drop(place);
    for ear in &mut ears {
        assert!(ear.freed().now_or_never().is_some());
        assert_eq!(heard(ear).hosts, ["host".into()]);
    }
    assert_eq!(lock(&places.shared.ears).len(), 2);
}
