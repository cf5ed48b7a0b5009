use std::{cell::Cell, sync::Mutex};

use futures_util::FutureExt;
use http::StatusCode;

use super::*;
use crate::{
    DeliveryParts, EndpointPolicy, Host, Payload, RequestId,
    outbox::{Demand, Source},
};

fn put(sink: &mut MemorySink, host: &str, id: usize) {
    let accepted = sink.call(delivery(host, id)).now_or_never().unwrap();
    accepted.unwrap();
}

fn delivery(host: &str, id: usize) -> Delivery {
    let parts = DeliveryParts::new(
        RequestId::parse(&id.to_string()).unwrap(),
        EndpointPolicy::public()
            .check(&format!("https://{host}.example.com/"))
            .unwrap(),
        StatusCode::OK,
        Payload::from("done"),
    );
    parts.into()
}

fn next(source: &mut MemorySource, room: impl Fn(&Host) -> usize + Sync) -> Vec<MemoryClaim> {
    let next = source.next(Demand::new(9, &room)).now_or_never();
    next.map(Result::unwrap).unwrap_or_default()
}

fn ids(claims: &[MemoryClaim]) -> Vec<&str> {
    let ids = claims.iter().map(|claim| claim.delivery().id().as_str());
    ids.collect()
}

/// Three for each of four hosts, none of which has room.
fn four_hosts_aside() -> MemorySource {
    let (mut sink, mut source, _) = MemoryOutbox::new().split();
    for id in 0..12 {
        put(&mut sink, &format!("host-{}", id % 4), id);
    }
    assert!(next(&mut source, |_| 0).is_empty());
    source
}

#[test]
fn each_host_aside_has_its_turn() {
    let mut source = four_hosts_aside();
    let mut order = Vec::new();
    for _ in 0..12 {
        source.has_room(None);
        let claims = next(&mut source, |_| 1);
        assert_eq!(claims.len(), 1);
        order.extend(ids(&claims).iter().map(|id| id.parse::<usize>().unwrap()));
        claims.into_iter().for_each(settle);
    }
    assert_eq!(order, (0..12).collect::<Vec<_>>());
    source.has_room(None);
    assert!(next(&mut source, |_| 9).is_empty());
    assert!(source.has_none_aside());
}

fn settle(claim: MemoryClaim) {
    let record = AttemptRecord::new(
        1,
        SystemTime::now(),
        Duration::ZERO,
        crate::Outcome::Failed(crate::AttemptError::Resolve),
    );
    let settled = claim.settle(Verdict::Delivered, record).now_or_never();
    settled.unwrap().unwrap();
}

#[test]
fn whoever_comes_behind_others_of_its_host_is_put_there_at_once() {
    let (mut sink, mut source, _) = MemoryOutbox::new().split();
    put(&mut sink, "full", 0);
    assert!(next(&mut source, |_| 0).is_empty());
    put(&mut sink, "full", 1);
    assert_eq!(source.queued(), 0);
    put(&mut sink, "other", 2);
    assert_eq!(source.queued(), 1, "nobody knows that it waits");
    source.has_room(None);
    let first = next(&mut source, |_| 9);
    assert_eq!(ids(&first), ["0", "1"]);
    put(&mut sink, "full", 3);
    assert_eq!(source.queued(), 1, "there are none before it");
    source.has_room(None);
    let [second, third] = [(); 2].map(|()| next(&mut source, |_| 9));
    let mut rest = [ids(&second), ids(&third)].concat();
    rest.sort();
    assert_eq!(rest, ["2", "3"]);
}

#[test]
fn behind_others_of_its_host_nothing_is_put_that_is_not_drained() {
    let (mut sink, mut source, _) = MemoryOutbox::new().split();
    for id in 0..3 {
        put(&mut sink, "full", id);
        assert!(next(&mut source, |_| 0).is_empty());
    }
    assert_eq!(source.drain().len(), 3);
    let refused = sink.call(delivery("full", 3)).now_or_never().unwrap();
    assert!(refused.is_err());
}

#[test]
fn a_host_that_was_given_some_is_asked_for_room_again() {
    let mut source = four_hosts_aside();
    source.has_room(None);
    let asked = Mutex::new(Vec::new());
    let room = |host: &Host| {
        asked.lock().unwrap().push(host.clone());
        usize::from(asked.lock().unwrap().len() == 1)
    };
    let claims = next(&mut source, room);
    assert_eq!(ids(&claims), ["0"]);
    assert!(next(&mut source, room).is_empty());
    let asked = asked.lock().unwrap();
    assert_eq!(asked[0], asked[1], "else nobody would tell it of the next");
    assert_eq!(asked.len(), 5);
}

#[test]
fn hosts_that_have_room_whatever_the_others_get_are_given_some_together() {
    let (mut sink, mut source, _) = MemoryOutbox::new().split();
    for (id, host) in ["a", "a", "b", "a", "c", "b"].into_iter().enumerate() {
        put(&mut sink, host, id);
    }
    let claims = next(&mut source, |_| 9);
    assert_eq!(ids(&claims), ["0", "1", "2", "3", "4", "5"]);
}

/// Each that is claimed may be one less for any other.
#[test]
fn hosts_that_might_have_none_left_are_asked_for_room_first() {
    let (mut sink, mut source, _) = MemoryOutbox::new().split();
    for (id, host) in ["a", "b", "c", "a", "c"].into_iter().enumerate() {
        put(&mut sink, host, id);
    }
    let first = next(&mut source, |_| 2);
    assert_eq!(ids(&first), ["0", "1"]);
    let only_a = |host: &Host| usize::from(host == &Host::from("a.example.com"));
    let second = next(&mut source, only_a);
    assert_eq!(ids(&second), ["3"]);
    source.has_room(None);
    let third = next(&mut source, |_| 9);
    assert_eq!(ids(&third), ["2", "4"]);
}

#[test]
fn no_more_are_given_than_there_are_places() {
    let (mut sink, mut source, _) = MemoryOutbox::new().split();
    for id in 0..20 {
        put(&mut sink, &format!("host-{id}"), id);
    }
    for left in [20, 11, 2] {
        let claims = next(&mut source, |_| 99);
        assert_eq!(claims.len(), left.min(9));
        claims.into_iter().for_each(settle);
    }
}

#[test]
fn a_claim_can_be_followed_by_another_to_its_host() {
    let mut source = four_hosts_aside();
    source.has_room(None);
    let claims = next(&mut source, |_| 1);
    assert_eq!(ids(&claims), ["0"]);
    assert!(claims[0].another(|| false).is_none());
    let second = claims[0].another(|| true).unwrap();
    let third = second.another(|| true).unwrap();
    assert_eq!(ids(&[second, third]), ["4", "8"]);
    assert!(claims[0].another(|| true).is_none());
}

#[test]
fn what_is_claimed_with_its_acceptance_and_dropped_is_handed_out() {
    let (sink, mut source, _) = MemoryOutbox::new().split();
    let claim = |id| MemoryOutbox::accept_claimed(&sink, &delivery("host", id));
    let (accepted, first) = claim(0).unwrap();
    assert_eq!(accepted, Accepted::in_memory());
    assert!(next(&mut source, |_| 9).is_empty(), "it is claimed");
    let (_, second) = claim(1).unwrap();
    drop(first);
    settle(second);
    let claims = next(&mut source, |_| 9);
    assert_eq!((ids(&claims), claims[0].attempt()), (vec!["0"], 1));
}

#[test]
fn nothing_is_claimed_before_what_waits_to_the_same_host() {
    let (mut sink, mut source, _) = MemoryOutbox::new().split();
    put(&mut sink, "full", 0);
    assert!(next(&mut source, |_| 0).is_empty());
    let claims = |host| MemoryOutbox::accept_claimed(&sink, &delivery(host, 1)).is_some();
    assert!(!claims("full"));
    assert!(claims("other"));
}

#[test]
fn nobody_looks_for_a_place_where_nothing_waits() {
    let (mut sink, mut source, _) = MemoryOutbox::new().split();
    put(&mut sink, "host", 0);
    let claims = next(&mut source, |_| 1);
    let asked = Cell::new(false);
    let has_place = || {
        asked.set(true);
        true
    };
    assert!(claims[0].another(has_place).is_none());
    assert!(!asked.get());
}

#[test]
fn hosts_that_were_aside_are_forgotten() {
    let (mut sink, mut source, _) = MemoryOutbox::new().split();
    for id in 0..1_000 {
        let host = format!("host-{id}");
        put(&mut sink, &host, id);
        assert!(next(&mut source, |_| 0).is_empty());
        let host = Host::from(&*format!("{host}.example.com"));
        source.has_room(Some(&host));
        let claims = next(&mut source, |_| 1);
        assert_eq!(ids(&claims), [id.to_string()]);
        settle(claims.into_iter().next().unwrap());
        assert!(source.hosts_in_ring() <= 67);
    }
    source.has_room(None);
    assert!(next(&mut source, |_| 1).is_empty());
    assert_eq!(source.hosts_in_ring(), 0);
}

#[test]
fn what_is_aside_goes_with_its_source() {
    let (mut sink, mut source, _) = MemoryOutbox::new().split();
    put(&mut sink, "host", 0);
    assert!(next(&mut source, |_| 0).is_empty());
    drop(source);
    assert!(sink.shared.aside.is_empty());
}

#[test]
fn what_is_aside_is_drained_too() {
    let mut source = four_hosts_aside();
    assert_eq!(source.drain().len(), 12);
    assert!(source.has_none_aside());
}
