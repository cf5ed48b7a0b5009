//! A service behind the layer, and receivers on loopback that mean it harm.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    cell::Cell,
    convert::Infallible,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::Handle,
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
    task::{JoinHandle, JoinSet, yield_now},
};
use tower::{Layer, ServiceExt, service_fn};
use tower_webhook::{
    AttemptError, Dispatcher, DispatcherBuilder, EndpointPolicy, Event, EventKind, Outcome,
    Resolve, Resolving, WebhookLayer,
};

/// The default.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);

/// A backstop in real time, whatever the runtime's clock says.
pub(crate) async fn within<T>(awaited: impl Future<Output = T>) -> T {
    let (_done, waiting) = mpsc::channel::<()>();
    let (too_late, late) = oneshot::channel();
    std::thread::spawn(move || {
        if waiting.recv_timeout(Duration::from_secs(60)) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = too_late.send(());
        }
    });
    tokio::select! {
        biased;
        value = awaited => value,
        Ok(()) = late => panic!("waited for a minute"),
    }
}

/// Waits until the runtime has no task any more. What a test started itself must be over.
pub(crate) async fn no_task_is_left() {
    let tasks = || Handle::current().metrics().num_alive_tasks();
    within(async {
        while tasks() > 0 {
            yield_now().await;
        }
    })
    .await;
}

thread_local! {
    /// Each test has a thread of its own, and its clock.
    static PAUSED: Cell<bool> = const { Cell::new(false) };
}

/// From now on time goes by only when there is nothing else to do, and then at once.
pub(crate) fn pause() {
    if !PAUSED.replace(true) {
        tokio::time::pause();
    }
}

pub(crate) fn resume() {
    if PAUSED.replace(false) {
        tokio::time::resume();
    }
}

/// Answers names as a function says.
pub(crate) struct Stub<F>(pub(crate) F);

impl<F: Fn(&str) -> Resolving + Send + Sync + 'static> Resolve for Stub<F> {
    fn resolve(&self, name: &str) -> Resolving {
        (self.0)(name)
    }
}

pub(crate) fn found<A: ToString>(addresses: impl IntoIterator<Item = A>) -> Resolving {
    let parse = |address: A| address.to_string().parse::<IpAddr>().unwrap();
    let addresses = addresses.into_iter().map(parse).collect();
    Box::pin(async { Ok(addresses) })
}

pub(crate) fn loopback(_: &str) -> Resolving {
    found(["127.0.0.1"])
}

/// A look-up that never ends.
pub(crate) fn never(_: &str) -> Resolving {
    Box::pin(std::future::pending())
}

/// `http` and 127.0.0.1 as well as what is public.
pub(crate) fn policy() -> EndpointPolicy {
    let policy = EndpointPolicy::public().with_insecure_http();
    policy.with_allowed_network("127.0.0.1/32").unwrap()
}

/// A service behind the layer, and what its dispatcher reports.
pub(crate) struct Api {
    pub(crate) dispatcher: Dispatcher,
    layer: WebhookLayer,
    events: UnboundedReceiver<Event>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempted {
    pub(crate) attempt: u32,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
    pub(crate) again: bool,
}

impl Api {
    /// Every name is 127.0.0.1. The clock is paused once an attempt has failed and another one
    /// is to follow.
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn resolving(answer: impl Fn(&str) -> Resolving + Send + Sync + 'static) -> Self {
        Self::with(|builder| builder.with_resolver(Stub(answer)))
    }

    pub(crate) fn with(settings: impl FnOnce(DispatcherBuilder) -> DispatcherBuilder) -> Self {
        let (tell, events) = unbounded_channel();
        let builder = Dispatcher::builder()
            .with_endpoint_policy(policy())
            .with_resolver(Stub(loopback))
            .on_event(move |event| {
                // The delay until the next attempt can be as short as nothing.
                if let EventKind::Attempted {
                    again_in: Some(_), ..
                } = event.kind()
                {
                    pause();
                }
                let _ = tell.send(event.clone());
            });
        let dispatcher = settings(builder).build();
        Self {
            layer: WebhookLayer::new().with_dispatcher(dispatcher.clone()),
            dispatcher,
            events,
        }
    }

    /// The whole response to a call that names this endpoint.
    pub(crate) async fn call(&self, endpoint: &str, payload: impl Into<Bytes>) -> Response<Bytes> {
        let payload = payload.into();
        self.call_for(endpoint, move || Full::new(payload.clone()))
            .await
    }

    async fn call_for<B>(
        &self,
        endpoint: &str,
        body: impl Fn() -> B + Send + 'static,
    ) -> Response<Bytes>
    where
        B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        let service = self.layer.layer(service_fn(move |_: Request<()>| {
            let response = Response::new(body());
            async { Ok::<_, Infallible>(response) }
        }));
        let endpoint = utf8_percent_encode(endpoint, NON_ALPHANUMERIC);
        let request = Request::get(format!("/?webhookEndpoint={endpoint}"));
        let response = service.oneshot(request.body(()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    }

    /// Accepts a webhook to this endpoint.
    pub(crate) async fn send(&self, endpoint: &str) {
        self.send_bytes(endpoint, "done").await;
    }

    pub(crate) async fn send_bytes(&self, endpoint: &str, payload: impl Into<Bytes>) {
        let response = self.call(endpoint, payload).await;
        assert_eq!(response.status(), 200, "{:?}", response.body());
    }

    /// The same in as many pieces.
    pub(crate) async fn send_pieces(&self, endpoint: &str, pieces: Vec<Bytes>) {
        let frames = move || {
            let frames = pieces.clone().into_iter().map(Frame::data).map(Ok);
            StreamBody::new(futures::stream::iter(frames))
        };
        let response = self.call_for(endpoint, frames).await;
        assert_eq!(response.status(), 200, "{:?}", response.body());
    }

    pub(crate) async fn event(&mut self) -> EventKind {
        let event = within(self.events.recv()).await.expect("a hook");
        event.kind().clone()
    }

    /// The end of the next attempt.
    pub(crate) async fn attempted(&mut self) -> Attempted {
        loop {
            if let EventKind::Attempted {
                attempt,
                outcome,
                took,
                again_in,
            } = self.event().await
            {
                return Attempted {
                    attempt,
                    outcome,
                    took,
                    again: again_in.is_some(),
                };
            }
        }
    }

    /// The event in which a webhook ends.
    pub(crate) async fn end(&mut self) -> EventKind {
        loop {
            let event = within(self.events.recv()).await.expect("a hook");
            if event.is_final() {
                return event.kind().clone();
            }
        }
    }

    /// One attempt at this endpoint, and no other one after it.
    pub(crate) async fn attempt(&mut self, endpoint: &str) -> Attempted {
        self.send(endpoint).await;
        self.only_attempt().await
    }

    /// The end of the attempt under way. Its delivery is given up; the client stays, and so do
    /// its connections.
    pub(crate) async fn only_attempt(&mut self) -> Attempted {
        let was_paused = PAUSED.get();
        let attempted = self.attempted().await;
        self.dispatcher.shutdown(Duration::ZERO).await;
        if !was_paused {
            resume();
        }
        attempted
    }

    /// The attempt under way, which only its deadline can end: nobody waits for it in real time.
    pub(crate) async fn attempt_at_deadline(&mut self) -> Attempted {
        pause();
        let attempted = self.only_attempt().await;
        assert_eq!(attempted.outcome, Outcome::Failed(AttemptError::TimedOut));
        assert!(attempted.again);
        let late = attempted.took.saturating_sub(ATTEMPT_TIMEOUT);
        assert!(
            late < Duration::from_millis(50),
            "{late:?} after the deadline"
        );
        attempted
    }
}

/// A server on loopback that treats each connection as a script says.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    stages: UnboundedReceiver<Stage>,
    seen: Arc<Seen>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    accepted: AtomicUsize,
    over: AtomicUsize,
    sent: AtomicUsize,
    received: AtomicUsize,
    requests: Mutex<Vec<Heard>>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

#[derive(Debug, PartialEq)]
enum Stage {
    Reached,
    Over,
}

/// One connection of a receiver.
pub(crate) struct Conn {
    pub(crate) tcp: TcpStream,
    stages: UnboundedSender<Stage>,
    seen: Arc<Seen>,
}

impl Receiver {
    pub(crate) fn new<F>(script: impl Fn(Conn) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::at("127.0.0.1:0", script)
    }

    pub(crate) fn at<F>(address: &str, script: impl Fn(Conn) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = listen(address.parse().unwrap());
        let address = listener.local_addr().unwrap();
        let (tell, stages) = unbounded_channel();
        let seen = Arc::new(Seen::default());
        let everything_seen = Arc::clone(&seen);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                seen.accepted.fetch_add(1, Ordering::SeqCst);
                connections.spawn(script(Conn {
                    tcp,
                    stages: tell.clone(),
                    seen: Arc::clone(&seen),
                }));
            }
        });
        Self {
            address,
            stages,
            seen: everything_seen,
            accepting,
        }
    }

    /// Answers every request on every connection with these bytes.
    pub(crate) fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<[u8]> = answer.into().into();
        Self::new(move |mut conn| {
            let answer = Arc::clone(&answer);
            async move {
                while conn.request().await.is_some() {
                    conn.say(&answer).await;
                }
            }
        })
    }

    pub(crate) fn url(&self) -> String {
        self.url_at("receiver.example.com")
    }

    pub(crate) fn url_at(&self, host: &str) -> String {
        format!("http://{host}:{}/hook", self.address.port())
    }

    pub(crate) fn https(&self) -> String {
        self.url().replace("http:", "https:")
    }

    /// Until a connection is where its script says so.
    pub(crate) async fn reached(&mut self) {
        self.stage(Stage::Reached).await;
    }

    /// Until a connection is over.
    pub(crate) async fn over(&mut self) {
        self.stage(Stage::Over).await;
    }

    async fn stage(&mut self, stage: Stage) {
        while within(self.stages.recv()).await.as_ref() != Some(&stage) {}
    }

    /// Connections that were ever accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.seen.accepted.load(Ordering::SeqCst)
    }

    pub(crate) fn open(&self) -> usize {
        self.accepted() - self.seen.over.load(Ordering::SeqCst)
    }

    /// Bytes that the kernel took.
    pub(crate) fn sent(&self) -> usize {
        self.seen.sent.load(Ordering::SeqCst)
    }

    pub(crate) fn received(&self) -> usize {
        self.seen.received.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> Vec<Heard> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// A connection that was opened waits in the listener's queue if not here.
    pub(crate) async fn saw_nobody(&self) -> bool {
        TcpStream::connect(self.address).await.unwrap();
        within(async {
            while self.accepted() == 0 {
                yield_now().await;
            }
        })
        .await;
        self.accepted() == 1
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Its buffers are small, so that what it sent is what was read, nearly, and the other way round.
fn listen(address: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(16 << 10).unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    socket.bind(address).unwrap();
    socket.listen(64).unwrap()
}

/// Tells the test where a script is.
pub(crate) struct Here(UnboundedSender<Stage>);

impl Here {
    pub(crate) fn here(&self) {
        let _ = self.0.send(Stage::Reached);
    }
}

impl Conn {
    /// Tells the test that it is here.
    pub(crate) fn here(&self) {
        let _ = self.stages.send(Stage::Reached);
    }

    /// The same while something else has the socket.
    pub(crate) fn split(&mut self) -> (Here, &mut TcpStream) {
        (Here(self.stages.clone()), &mut self.tcp)
    }

    /// Reads one request; `None` when the client has closed.
    pub(crate) async fn request(&mut self) -> Option<Heard> {
        let mut bytes = Vec::new();
        let head = loop {
            if let Some(end) = find(&bytes, b"\r\n\r\n") {
                break String::from_utf8(bytes.drain(..end + 4).collect()).unwrap();
            }
            self.read_into(&mut bytes).await.ok()?;
        };
        let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        while bytes.len() < length {
            self.read_into(&mut bytes).await.ok()?;
        }
        let heard = Heard { head, body: bytes };
        self.seen.requests.lock().unwrap().push(heard.clone());
        Some(heard)
    }

    async fn read_into(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        let read = self.tcp.read_buf(bytes).await?;
        self.seen.received.fetch_add(read, Ordering::SeqCst);
        match read {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// False once the client has closed.
    pub(crate) async fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let mut bytes = bytes.as_ref();
        while !bytes.is_empty() {
            match self.tcp.write(bytes).await {
                Ok(written) => {
                    self.seen.sent.fetch_add(written, Ordering::SeqCst);
                    bytes = &bytes[written..];
                }
                Err(_) => return false,
            }
        }
        true
    }

    /// Says it again and again until the client has closed.
    pub(crate) async fn say_for_ever(&mut self, bytes: impl AsRef<[u8]>) {
        let many = bytes.as_ref().repeat(1 + 4096 / bytes.as_ref().len());
        while self.say(&many).await {}
    }

    /// Reads until the client has closed.
    pub(crate) async fn closed(&mut self) {
        let mut bytes = Vec::new();
        while self.read_into(&mut bytes).await.is_ok() {
            bytes.clear();
        }
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        self.tcp.set_zero_linger().unwrap();
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.seen.over.fetch_add(1, Ordering::SeqCst);
        let _ = self.stages.send(Stage::Over);
    }
}

/// A header's value in a request's head.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
