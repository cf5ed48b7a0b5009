//! Callers who close their side, services that take too long, and what ends with them.

use http::Method;
use tokio::join;

use crate::{
    process::within,
    raw::{OK, Raw, RawService, raw_call, status},
    world::{SECRET, World},
};

const TRYING_OUT: &str = "--insecure-private-endpoints";
const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

struct Leaving {
    service: RawService,
    world: World,
}

impl Leaving {
    async fn start(args: &[&str]) -> Self {
        let service = RawService::start().await;
        let args = [&[TRYING_OUT][..], args].concat();
        let world = World::before(service.address, &args).await;
        Self { service, world }
    }

    /// A call that wants a webhook and has arrived at the service.
    async fn call(&self) -> (Raw, Raw) {
        let mut caller = Raw::connect(self.world.address).await;
        let endpoint = &self.world.endpoint;
        let request = format!(
            "GET /?webhookEndpoint={endpoint} HTTP/1.1\r\nhost: a\r\n\
            x-webhook-secret: {SECRET}\r\n\r\n"
        );
        caller.write(request).await;
        let mut service = self.service.accept().await;
        service.head().await;
        (caller, service)
    }
}

#[tokio::test]
async fn who_sends_no_more_gets_the_answer() {
    let long = ["--half-close-timeout", "1day"];
    for more in [None, Some("--cancel-on-disconnect")] {
        let args: Vec<_> = long.into_iter().chain(more).collect();
        let mut leaving = Leaving::start(&args).await;
        let (mut caller, mut service) = leaving.call().await;
        caller.half_close().await;
        // The proxy has seen that by the time that another call has gone all the way.
        let other = raw_call(
            leaving.world.address,
            GET.replace("host", "connection: close\r\nhost"),
        );
        let (other, _) = join!(other, leaving.service.answer(OK));
        assert_eq!(status(&other), "200");
        service
            .write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n")
            .await;
        assert!(
            caller
                .until("2\r\nok\r\n")
                .await
                .starts_with("HTTP/1.1 200")
        );
        service.write("0\r\n\r\n").await;
        assert_eq!(caller.rest().await, "0\r\n\r\n");
        assert_eq!(leaving.world.webhook().await.body, "ok");
    }
}

#[tokio::test]
async fn who_has_left_is_noticed_though_nothing_is_written() {
    let mut leaving = Leaving::start(&[]).await;
    let (caller, mut service) = leaving.call().await;
    drop(caller);
    let stderr = &mut leaving.world.proxy.stderr;
    stderr.line_with("the request runs on").await;
    service.write(OK).await;
    assert_eq!(leaving.world.webhook().await.body, "ok");
}

#[tokio::test]
async fn who_leaves_an_event_stream_is_noticed() {
    let mut leaving = Leaving::start(&["--cancel-on-disconnect"]).await;
    let (mut caller, mut service) = leaving.call().await;
    service
        .write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n")
        .await;
    caller.until("2\r\nok\r\n").await;
    drop(caller);
    assert_eq!(service.rest().await, "", "its connection ends");
    leaving.world.proxy.stderr.line_with("CallerLeft").await;
}

#[tokio::test]
async fn a_cancelled_call_ends_the_connection_to_the_service() {
    let mut leaving = Leaving::start(&["--cancel-on-disconnect"]).await;
    let (caller, mut service) = leaving.call().await;
    drop(caller);
    assert_eq!(service.rest().await, "", "its connection ends");
    leaving.world.proxy.stderr.line_with("CallerLeft").await;
    // And nothing keeps the drain waiting.
    leaving.world.proxy.signal("TERM");
    assert!(leaving.world.proxy.exit().await.success());
}

#[tokio::test]
async fn a_plain_call_ends_with_its_caller() {
    let leaving = Leaving::start(&[]).await;
    let mut caller = Raw::connect(leaving.world.address).await;
    caller.write(GET).await;
    let mut service = leaving.service.accept().await;
    service.head().await;
    drop(caller);
    assert_eq!(service.rest().await, "", "its connection ends");
}

#[tokio::test]
async fn no_answer_in_time_is_a_504_and_forwarded() {
    for args in [
        &["--upstream-timeout", "1s"][..],
        &["--upstream-timeout", "1s", "--upstream-http2"],
    ] {
        let mut leaving = Leaving::start(args).await;
        let call = leaving.world.call(Method::GET, "/").send();
        let (response, mut service) = join!(within(call), leaving.service.accept());
        let response = response.unwrap();
        assert_eq!(response.status(), 504);
        let text = within(response.text()).await.unwrap();
        assert_eq!(text, "the service gave no answer in time\n");
        let webhook = leaving.world.webhook().await;
        assert_eq!((webhook.status, &webhook.body[..]), (504, text.as_bytes()));
        // Over HTTP/2 other calls may use it.
        if args.len() == 2 {
            let sent = service.rest().await;
            assert!(sent.starts_with("GET /"), "{sent}");
        }
    }
}

#[tokio::test]
async fn an_answer_in_time_may_take_long() {
    let leaving = Leaving::start(&["--upstream-timeout", "10s"]).await;
    let (mut caller, mut service) = leaving.call().await;
    service
        .write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nok")
        .await;
    caller.until("\r\n\r\nok").await;
    tokio::time::sleep(std::time::Duration::from_millis(10_500)).await;
    service.write("ok").await;
    assert_eq!(caller.exactly(2).await, b"ok");
}

#[tokio::test]
async fn a_run_that_takes_too_long_ends_with_its_connection() {
    let args = ["--max-run", "1s", "--half-close-timeout", "0s"];
    let leaving = Leaving::start(&args).await;
    let (mut caller, mut service) = leaving.call().await;
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n";
    service.write(head).await;
    caller.until("2\r\nok\r\n").await;
    drop(caller);
    assert_eq!(service.rest().await, "", "its connection ends");
}
