//! Several runtimes: none waits for one that has ended, or that nobody drives.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use futures::FutureExt;
use tokio::{
    runtime::{Builder, Runtime},
    sync::Barrier,
    time::timeout,
};
use tower_webhook::{Dispatcher, Event, EventKind};

use crate::{
    outboxes::{Answer, Faulty},
    world::{World, call, run},
};

const SECOND: Duration = Duration::from_secs(1);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn paused_runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().unwrap()
}

fn kinds(world: &mut World) -> Vec<EventKind> {
    std::iter::from_fn(|| world.events.try_recv().ok())
        .map(|event| event.kind().clone())
        .collect()
}

#[test]
fn each_runtime_delivers_what_it_accepts_after_the_one_before_has_ended() {
    for outbox in [Faulty::in_memory(), Faulty::durable()] {
        let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
        let dispatcher = builder.build();
        for id in ["a", "b", "c"] {
            runtime().block_on(async {
                call(&dispatcher, "example.com", id).await;
                let post = world.post().await;
                assert_eq!(post.id(), id);
                post.answer(200);
                assert_eq!(world.end().await, EventKind::Delivered { attempts: 1 });
            });
        }
    }
}

#[test]
fn what_was_accepted_in_a_runtime_that_nobody_drives_is_delivered_in_another() {
    for outbox in [Faulty::in_memory(), Faulty::durable()] {
        let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
        let dispatcher = builder.with_attempt_timeout(SECOND).build();
        let idle = runtime();
        // It is alive, and from here on nobody polls its tasks.
        idle.block_on(call(&dispatcher, "example.com", "a"));
        runtime().block_on(async {
            call(&dispatcher, "example.org", "b").await;
            let mut delivered = 0;
            while delivered < 2 {
                tokio::select! {
                    // An attempt that was begun there is begun anew here, after its time.
                    post = world.posts.recv() => post.unwrap().answer(200),
                    event = world.events.recv() => {
                        let kind = event.unwrap().kind().clone();
                        delivered += i32::from(kind == EventKind::Delivered { attempts: 1 });
                    }
                }
            }
        });
        drop(idle);
    }
}

#[test]
fn what_a_runtime_that_ends_has_under_way_is_gone_on_with_by_one_that_lives() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder.build();
    let (accepted, is_accepted) = mpsc::channel();
    let (end, is_to_end) = mpsc::channel::<()>();
    let ending = {
        let dispatcher = dispatcher.clone();
        thread::spawn(move || {
            runtime().block_on(async {
                call(&dispatcher, "example.com", "a").await;
                tokio::task::yield_now().await;
                accepted.send(()).unwrap();
                is_to_end.recv().unwrap();
            });
        })
    };
    runtime().block_on(async {
        is_accepted.recv().unwrap();
        dispatcher.start();
        // In either runtime.
        let first = world.post().await;
        end.send(()).unwrap();
        ending.join().unwrap();
        let post = match world.post().now_or_never() {
            Some(second) => second,
            None if first.is_waited_for() => first,
            None => world.post().await,
        };
        assert_eq!((post.id(), post.attempt()), ("a", "1"));
        post.answer(200);
        assert_eq!(world.end().await, EventKind::Delivered { attempts: 1 });
    });
}

/// What it had waited for is settled in another one, and that fetches.
#[test]
fn a_runtime_that_ends_while_the_outbox_hangs_stops_no_fetches() {
    let outbox = Faulty::durable().settle(Answer::Never);
    let settlements = outbox.settlements();
    let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
    let dispatcher = builder.build();
    paused_runtime().block_on(async {
        call(&dispatcher, "example.com", "a").await;
        world.post().await.answer(200);
        // As soon as the outbox has taken too long.
        assert_eq!(world.end().await, EventKind::Delivered { attempts: 1 });
    });
    settlements.set(Answer::AsItIs);
    paused_runtime().block_on(async {
        call(&dispatcher, "example.com", "b").await;
        world.post().await.answer(404);
        let again = timeout(600 * SECOND, world.posts.recv()).await;
        let again = again.expect("it is fetched once it is due again").unwrap();
        assert_eq!((again.id(), again.attempt()), ("b", "2"));
    });
}

/// As the handlers of an application are tested: a dispatcher in a `static`, and a runtime for each
/// test, many at once.
#[test]
fn a_dispatcher_that_many_tests_share_delivers_all_while_one_of_them_lives() {
    const TESTS: usize = 16;
    const CALLS: usize = 25;
    for outbox in [Faulty::in_memory(), Faulty::durable()] {
        let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
        let dispatcher = builder.with_max_outstanding_per_host(TESTS * CALLS).build();
        let barrier = Arc::new(Barrier::new(TESTS));
        let tests: Vec<_> = (0..TESTS)
            .map(|test| {
                let (dispatcher, barrier) = (dispatcher.clone(), Arc::clone(&barrier));
                thread::spawn(move || {
                    runtime().block_on(async {
                        barrier.wait().await;
                        for number in 0..CALLS {
                            let id = format!("{test}-{number}");
                            call(&dispatcher, "example.com", &id).await;
                            if number % 7 == test % 7 {
                                tokio::task::yield_now().await;
                            }
                        }
                    });
                })
            })
            .collect();
        let answering = thread::spawn(move || {
            runtime().block_on(async {
                dispatcher.start();
                let mut delivered = 0;
                while delivered < TESTS * CALLS {
                    tokio::select! {
                        post = world.posts.recv() => post.unwrap().answer(200),
                        end = world.events.recv() => {
                            let kind = end.unwrap().kind().clone();
                            let is_end = matches!(kind, EventKind::Delivered { .. });
                            delivered += usize::from(is_end);
                            assert_ne!(kind, EventKind::Abandoned);
                        }
                    }
                }
            });
        });
        for test in tests {
            test.join().unwrap();
        }
        answering.join().unwrap();
    }
}

#[test]
fn what_a_runtime_that_has_ended_leaves_goes_on_in_the_next() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder.build();
    let first = Runtime::new().unwrap();
    let cut_off = first.block_on(async {
        // More than may be under way to one host: some wait for a permit.
        for id in ["a", "b", "c", "d", "e", "f"] {
            call(&dispatcher, "example.com", id).await;
        }
        let mut cut_off = Vec::new();
        for _ in 0..4 {
            cut_off.push(world.post().await);
        }
        cut_off
    });
    first.shutdown_timeout(Duration::from_secs(30));
    drop(cut_off);
    Runtime::new().unwrap().block_on(async {
        call(&dispatcher, "example.com", "g").await;
        let mut ids = Vec::new();
        for _ in 0..7 {
            let post = world.post().await;
            assert_eq!(post.attempt(), "1");
            ids.push(post.id().to_owned());
            post.answer(200);
        }
        ids.sort_unstable();
        assert_eq!(ids, ["a", "b", "c", "d", "e", "f", "g"]);
        for _ in 0..7 {
            assert_eq!(world.end().await, EventKind::Delivered { attempts: 1 });
        }
    });
}

#[test]
fn what_nobody_goes_on_with_is_reported_as_abandoned() {
    let (mut world, builder) = World::new(Dispatcher::builder());
    let dispatcher = builder.build();
    let runtime = Runtime::new().unwrap();
    let _cut_off = runtime.block_on(async {
        call(&dispatcher, "example.com", "a").await;
        world.post().await
    });
    runtime.shutdown_timeout(Duration::from_secs(30));
    drop(dispatcher);
    let ends = kinds(&mut world).into_iter();
    let ends: Vec<_> = ends.filter(|kind| *kind == EventKind::Abandoned).collect();
    assert_eq!(ends.len(), 1);
}

#[test]
fn without_a_runtime_the_response_is_given_and_the_webhook_abandoned() {
    for outbox in [Faulty::in_memory(), Faulty::durable()] {
        let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
        let dispatcher = builder.build();
        let status = futures::executor::block_on(call(&dispatcher, "example.com", "a"));
        assert_eq!(status, 200);
        assert_eq!(
            kinds(&mut world),
            [EventKind::Accepted, EventKind::Abandoned]
        );
        assert_eq!(dispatcher.outstanding(), 0);
    }
}

#[test]
fn what_is_accepted_outside_a_runtime_is_delivered_in_one_that_lives() {
    for outbox in [Faulty::in_memory(), Faulty::durable()] {
        let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
        let dispatcher = builder.build();
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async { dispatcher.start() });
        let status = futures::executor::block_on(call(&dispatcher, "example.com", "a"));
        assert_eq!(status, 200);
        runtime.block_on(async {
            world.post().await.answer(200);
            assert_eq!(world.end().await, EventKind::Delivered { attempts: 1 });
        });
    }
}

/// What an application drops with its runtime may call once more.
#[test]
fn a_call_in_a_runtime_that_ends_leaves_nothing_behind() {
    struct CallAtTheEnd(Dispatcher);

    impl Drop for CallAtTheEnd {
        fn drop(&mut self) {
            let _ = call(&self.0, "example.com", "a").now_or_never();
        }
    }

    for outbox in [Faulty::in_memory(), Faulty::durable()] {
        let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
        let dispatcher = builder.build();
        let ending = runtime();
        ending.block_on(async { dispatcher.start() });
        let at_the_end = CallAtTheEnd(dispatcher.clone());
        ending.spawn(async move {
            let _at_the_end = at_the_end;
            std::future::pending::<()>().await;
        });
        // Both tasks are driven, so that they are dropped in the order in which they came.
        ending.block_on(tokio::task::yield_now());
        drop(ending);
        let living = Runtime::new().unwrap();
        living.block_on(async { dispatcher.start() });
        let status = futures::executor::block_on(call(&dispatcher, "example.com", "b"));
        assert_eq!(status, 200);
        living.block_on(async {
            let is_done = |event: &Event| {
                let is_b = event.request_id().is_some_and(|id| id.as_str() == "b");
                is_b && *event.kind() == EventKind::Delivered { attempts: 1 }
            };
            loop {
                tokio::select! {
                    post = world.posts.recv() => post.unwrap().answer(200),
                    event = world.events.recv() => if is_done(&event.unwrap()) { break },
                }
            }
        });
    }
}

#[test]
fn the_endpoint_of_a_run_whose_runtime_has_ended_is_told_by_another() {
    let outbox = Faulty::durable();
    let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
    let dispatcher = builder.build();
    let living = Runtime::new().unwrap();
    living.block_on(async { dispatcher.start() });
    let ending = Runtime::new().unwrap();
    let _open = ending.block_on(run(&dispatcher, "example.com", "a"));
    drop(ending);
    living.block_on(async {
        let notice = world.post().await;
        assert_eq!(notice.request.headers()["x-webhook-failure"], "interrupted");
        notice.answer(200);
    });
}

/// Its response was complete, and nobody had taken it.
#[test]
fn the_endpoint_of_a_response_that_is_lost_with_its_runtime_is_told_by_another() {
    let outbox = Faulty::durable().insert(Answer::Never);
    let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
    let dispatcher = builder.build();
    let living = Runtime::new().unwrap();
    living.block_on(async { dispatcher.start() });
    let ending = runtime();
    ending.block_on(async {
        let open = run(&dispatcher, "example.com", "a").await;
        open.send(()).unwrap();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    });
    drop(ending);
    living.block_on(async {
        let notice = world.post().await;
        assert_eq!(notice.request.headers()["x-webhook-failure"], "interrupted");
        notice.answer(200);
    });
}

#[test]
fn a_slow_outbox_has_its_time_outside_a_runtime_as_well() {
    let outbox = Faulty::durable().insert(Answer::Never);
    let (mut world, builder) = World::new(Dispatcher::builder().with_outbox(outbox));
    let dispatcher = builder.build();
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let mut calling = Box::pin(call(&dispatcher, "example.com", "a"));
    runtime.block_on(async {
        assert!(futures::poll!(&mut calling).is_pending());
        tokio::time::sleep(Duration::from_secs(6)).await;
    });
    assert_eq!(calling.now_or_never().unwrap(), 200);
    assert!(kinds(&mut world).contains(&EventKind::OutboxFailed));
}
