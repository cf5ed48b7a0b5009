use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::{JoinHandle, JoinSet, yield_now},
};

use super::{Conn, Heard, within};

/// A server on loopback that treats each connection as a script says.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    stages: UnboundedReceiver<Stage>,
    seen: Arc<Seen>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
pub(super) struct Seen {
    pub(super) accepted: AtomicUsize,
    pub(super) over: AtomicUsize,
    pub(super) sent: AtomicUsize,
    pub(super) received: AtomicUsize,
    pub(super) requests: Mutex<Vec<Heard>>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Stage {
    Reached,
    Over,
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
