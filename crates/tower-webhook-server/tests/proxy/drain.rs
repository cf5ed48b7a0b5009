//! What becomes of calls and webhooks when the proxy is told to stop.

use std::sync::Arc;

use axum::{Router, routing::get};
use reqwest::Method;
use tokio::{
    net::TcpStream,
    sync::{Semaphore, mpsc},
};

use crate::{process::within, world::World};

/// A service that says when a call has come, and answers when it may.
struct Slow {
    world: World,
    come: mpsc::UnboundedReceiver<()>,
    may_answer: Arc<Semaphore>,
}

impl Slow {
    async fn start(args: &[&str]) -> Self {
        let (came, come) = mpsc::unbounded_channel();
        let may_answer = Arc::new(Semaphore::new(0));
        let may = Arc::clone(&may_answer);
        let answer = || async move {
            came.send(()).unwrap();
            let _ = may.acquire().await.unwrap();
            "at last"
        };
        let service = Router::new().route("/", get(answer));
        let mut all = vec!["--insecure-private-endpoints"];
        all.extend(args);
        Self {
            world: World::of(service, &all).await,
            come,
            may_answer,
        }
    }

    /// A call whose caller has left before there is an answer.
    async fn hang_up(&mut self) {
        let call = self.world.call(Method::GET, "/");
        let call = tokio::spawn(call.send());
        within(self.come.recv()).await;
        call.abort();
        let stderr = &mut self.world.proxy.stderr;
        stderr.line_with("the request runs on").await;
    }
}

#[tokio::test]
async fn a_webhook_arrives_though_its_caller_has_left() {
    for signal in ["TERM", "INT"] {
        let mut slow = Slow::start(&[]).await;
        slow.hang_up().await;
        slow.world.proxy.signal(signal);
        slow.world.proxy.stderr.line_with("draining").await;
        slow.may_answer.add_permits(1);
        assert_eq!(slow.world.webhook().await.body, "at last");
        assert!(slow.world.proxy.exit().await.success(), "{signal}");
        let stderr = slow.world.proxy.stderr.rest().await;
        assert!(
            stderr.contains("drained accepted=1 delivered=1"),
            "{stderr}"
        );
    }
}

#[tokio::test]
async fn a_caller_that_stays_gets_its_answer() {
    let mut slow = Slow::start(&[]).await;
    let call = tokio::spawn(slow.world.call(Method::GET, "/").send());
    within(slow.come.recv()).await;
    slow.world.proxy.signal("TERM");
    slow.world.proxy.stderr.line_with("draining").await;
    let refused = TcpStream::connect(slow.world.address).await;
    assert!(refused.is_err(), "nobody listens any more");
    slow.may_answer.add_permits(1);
    let response = within(call).await.unwrap().unwrap();
    assert_eq!(within(response.text()).await.unwrap(), "at last");
    assert_eq!(slow.world.webhook().await.body, "at last");
    assert!(slow.world.proxy.exit().await.success());
}

#[tokio::test]
async fn without_calls_it_ends_at_once() {
    let mut world = World::of(Router::new(), &["--drain", "1day"]).await;
    let _idle = TcpStream::connect(world.address).await.unwrap();
    let plain = world.plain(Method::GET, world.address, "/").send();
    assert_eq!(within(plain).await.unwrap().status(), 404);
    world.proxy.signal("TERM");
    assert!(world.proxy.exit().await.success());
}

#[tokio::test]
async fn the_exit_code_says_that_a_webhook_is_lost() {
    let mut slow = Slow::start(&["--drain", "0s"]).await;
    slow.hang_up().await;
    slow.world.proxy.signal("TERM");
    assert_eq!(slow.world.proxy.exit().await.code(), Some(1));
    let stderr = slow.world.proxy.stderr.rest().await;
    assert!(stderr.contains("unfinished=1"), "{stderr}");
}

#[tokio::test]
async fn a_second_signal_cuts_it_short() {
    let mut slow = Slow::start(&["--drain", "1day"]).await;
    slow.hang_up().await;
    slow.world.proxy.signal("TERM");
    slow.world.proxy.stderr.line_with("draining").await;
    slow.world.proxy.signal("TERM");
    assert_eq!(slow.world.proxy.exit().await.code(), Some(1));
}
