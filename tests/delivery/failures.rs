//! Endpoints that give no answer.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket},
    sync::mpsc::{self, UnboundedReceiver},
};
use tower_webhook::{
    EndpointPolicy, EventKind,
    attempt::{Resolve, ResolveFuture},
    dispatch::DispatcherBuilder,
    event::{AttemptError, Outcome},
};

use crate::{
    call::deliver,
    support::{clock::Clock, rig::Rig, soon},
};

/// What a receiver does once it has the whole request.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// Closes the connection, after these words.
    Close(&'static str),
    Reset,
    /// Says these words and no more.
    Stall(&'static str),
}

/// Its URL, and a word for each request that it got.
async fn receiver(manner: Manner) -> (String, UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (tell, got) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut stalled = Vec::new();
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\ndone") {
                request.push(socket.read_u8().await.unwrap());
            }
            match manner {
                Manner::Close(words) => socket.write_all(words.as_bytes()).await.unwrap(),
                Manner::Reset => socket.set_zero_linger().unwrap(),
                Manner::Stall(words) => {
                    socket.write_all(words.as_bytes()).await.unwrap();
                    stalled.push(socket);
                }
            }
            tell.send(()).unwrap();
        }
    });
    (url, got)
}

const TIMEOUT: Duration = Duration::from_secs(1);

fn impatient(builder: DispatcherBuilder) -> DispatcherBuilder {
    builder.with_attempt_timeout(TIMEOUT)
}

/// Three attempts with the same outcome, and the end.
async fn expect_three(rig: &mut Rig, clock: &Clock, expected: Outcome) {
    for attempt in 1..=3 {
        expect_attempt(rig, attempt, expected).await;
        clock.to_the_next_attempt().await;
    }
    expect_dead(rig, 3, expected).await;
}

async fn expect_attempt(rig: &mut Rig, nth: u32, expected: Outcome) {
    let (event, again) = rig.events.attempted().await;
    let EventKind::Attempted {
        attempt, outcome, ..
    } = event.kind()
    else {
        unreachable!("asked for");
    };
    assert_eq!((*attempt, *outcome, again), (nth, expected, nth < 3));
}

async fn expect_dead(rig: &mut Rig, attempts: u32, last: Outcome) {
    assert_eq!(rig.only_end().await, EventKind::Dead { attempts, last });
}

#[tokio::test]
async fn a_refused_connection() {
    let clock = Clock::stop();
    let mut rig = Rig::new().await;
    // Bound, so that nobody else gets the port, and nobody listens.
    let bound = TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    deliver(&rig, &format!("http://{}/", bound.local_addr().unwrap())).await;
    expect_three(&mut rig, &clock, Outcome::Failed(AttemptError::Connect)).await;
}

#[tokio::test]
async fn a_connection_that_is_lost() {
    for manner in [
        Manner::Reset,
        Manner::Close(""),
        Manner::Close("rubbish\r\n\r\n"),
        Manner::Close("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n"),
    ] {
        println!("{manner:?}"); // shown when it fails
        lost(manner).await;
    }
}

async fn lost(manner: Manner) {
    let clock = Clock::stop();
    let mut rig = Rig::new().await;
    let (url, mut got) = receiver(manner).await;
    deliver(&rig, &url).await;
    expect_three(
        &mut rig,
        &clock,
        Outcome::Failed(AttemptError::ConnectionLost),
    )
    .await;
    for _ in 0..3 {
        got.try_recv().unwrap();
    }
    assert!(got.try_recv().is_err(), "sent more often than reported");
    tokio::time::resume();
}

/// The only final status below 200: it would hand the connection over.
#[tokio::test]
async fn a_101() {
    let clock = Clock::stop();
    let mut rig = Rig::new().await;
    let words = "HTTP/1.1 101 Switching Protocols\r\nupgrade: a\r\nconnection: upgrade\r\n\r\n";
    let (url, _got) = receiver(Manner::Close(words)).await;
    deliver(&rig, &url).await;
    let expected = Outcome::answered(http::StatusCode::SWITCHING_PROTOCOLS, None);
    expect_three(&mut rig, &clock, expected).await;
}

#[tokio::test]
async fn an_endpoint_that_stalls() {
    for words in [
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n",
    ] {
        let clock = Clock::stop();
        let mut rig = Rig::with(impatient).await;
        let (url, mut got) = receiver(Manner::Stall(words)).await;
        deliver(&rig, &url).await;
        let expected = Outcome::Failed(AttemptError::TimedOut);
        for attempt in 1..=3 {
            soon("a request", got.recv()).await.unwrap();
            clock.forward(TIMEOUT).await;
            expect_attempt(&mut rig, attempt, expected).await;
            clock.to_the_next_attempt().await;
        }
        expect_dead(&mut rig, 3, expected).await;
        tokio::time::resume();
    }
}

/// Answers every name like this; `None` never answers.
struct Answers(Option<io::Result<Vec<IpAddr>>>, mpsc::UnboundedSender<()>);

impl Resolve for Answers {
    fn resolve(&self, name: &str) -> ResolveFuture {
        assert_eq!(name, "receiver.example.com");
        self.1.send(()).unwrap();
        let answer = match &self.0 {
            Some(Ok(addresses)) => Some(Ok(addresses.clone())),
            Some(Err(error)) => Some(Err(error.kind().into())),
            None => None,
        };
        Box::pin(async {
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        })
    }
}

const NAMED: &str = "http://receiver.example.com/";

#[tokio::test]
async fn a_name_without_an_address() {
    for answer in [Err(io::ErrorKind::NotFound.into()), Ok(Vec::new())] {
        let clock = Clock::stop();
        let (tell, _asked) = mpsc::unbounded_channel();
        let mut rig = Rig::with(|builder| builder.with_resolver(Answers(Some(answer), tell))).await;
        deliver(&rig, NAMED).await;
        expect_three(&mut rig, &clock, Outcome::Failed(AttemptError::Resolve)).await;
        tokio::time::resume();
    }
}

#[tokio::test]
async fn a_name_server_that_does_not_answer() {
    let clock = Clock::stop();
    let (tell, mut asked) = mpsc::unbounded_channel();
    let mut rig = Rig::with(|builder| builder.with_resolver(Answers(None, tell))).await;
    deliver(&rig, NAMED).await;
    let expected = Outcome::Failed(AttemptError::Resolve);
    for attempt in 1..=3 {
        soon("a look-up", asked.recv()).await.unwrap();
        clock.forward(Duration::from_secs(5)).await;
        expect_attempt(&mut rig, attempt, expected).await;
        clock.to_the_next_attempt().await;
    }
    expect_dead(&mut rig, 3, expected).await;
}

#[tokio::test]
async fn a_name_that_has_moved_to_a_private_address_is_given_up_at_once() {
    let (tell, mut asked) = mpsc::unbounded_channel();
    let private = Answers(Some(Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])), tell);
    let mut rig = Rig::with(|builder| {
        let policy = EndpointPolicy::public().with_insecure_http();
        builder.with_endpoint_policy(policy).with_resolver(private)
    })
    .await;
    deliver(&rig, NAMED).await;
    expect_dead(&mut rig, 1, Outcome::Failed(AttemptError::Forbidden)).await;
    asked.recv().await.unwrap();
    assert!(asked.try_recv().is_err(), "looked up again");
}
