//! Receivers that answer before they have read the upload.

use std::time::Duration;

use futures::future::join_all;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tower_webhook::event::Outcome;

use crate::{
    answered,
    authority::{Authority, named},
    hostile::{Api, Receiver},
};

const LARGE: usize = 4 << 20;

/// More than one try at each: what the client does when the reset comes is a race.
const TRIES: usize = 25;

/// How a receiver treats an upload that it does not want.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    /// Answers as soon as it is connected, and closes.
    AtOnce,
    /// Reads the head, answers and closes.
    AfterTheHead,
    /// Reads some of the body, answers in pieces, and closes.
    InPieces,
    /// Answers, will say no more, and reads no more.
    HalfCloses,
    /// Answers, will say no more, and reads all.
    HalfClosesAndReads,
}

const ALL: [Manner; 5] = [
    Manner::AtOnce,
    Manner::AfterTheHead,
    Manner::InPieces,
    Manner::HalfCloses,
    Manner::HalfClosesAndReads,
];

impl Manner {
    /// It closes then: with a reset.
    fn leaves_something_unread(self) -> bool {
        matches!(self, Self::AtOnce | Self::AfterTheHead | Self::InPieces)
    }
}

async fn refuse(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str, manner: Manner) {
    let read = match manner {
        Manner::AtOnce => 0,
        Manner::InPieces => 100_000,
        _ => 1_000,
    };
    let mut some = vec![0; read];
    let _ = stream.read_exact(&mut some).await;
    let pieces = match manner {
        Manner::InPieces => 4,
        _ => 1,
    };
    for piece in answer.as_bytes().chunks(answer.len().div_ceil(pieces)) {
        let _ = stream.write_all(piece).await;
        let _ = stream.flush().await;
    }
    match manner {
        Manner::AtOnce | Manner::AfterTheHead | Manner::InPieces => {}
        Manner::HalfCloses => {
            let _ = stream.shutdown().await;
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
        Manner::HalfClosesAndReads => {
            let _ = stream.shutdown().await;
            let mut rest = vec![0; 64 << 10];
            while !matches!(stream.read(&mut rest).await, Ok(0) | Err(_)) {}
        }
    }
}

async fn attempt(api: &mut Api, url: &str) -> Outcome {
    api.send_bytes(url, vec![b'x'; LARGE]).await;
    api.attempted().await.outcome
}

async fn refused(status: u16, manner: Manner) {
    let answer = format!("HTTP/1.1 {status} x\r\nconnection: close\r\n\r\n");
    let tries = match manner {
        Manner::HalfCloses | Manner::HalfClosesAndReads => 1,
        _ => TRIES,
    };

    let said = answer.clone();
    let receiver = Receiver::new(move |conn| {
        if manner == Manner::InPieces {
            conn.send_at_once();
        }
        let said = said.clone();
        async move { refuse(conn, &said, manner).await }
    });
    let mut api = Api::new();
    for _ in 0..tries {
        let outcome = attempt(&mut api, &receiver.url()).await;
        assert_eq!(outcome, answered(status), "{manner:?}");
    }

    let authority = Authority::new();
    let acceptor = authority.certify(&named("receiver.example.com"));
    let receiver = Receiver::new(move |conn| {
        // Behind a handshake even a whole answer waits for an acknowledgement.
        if manner.leaves_something_unread() {
            conn.send_at_once();
        }
        let (acceptor, said) = (acceptor.clone(), answer.clone());
        async move {
            let tls = acceptor.accept(conn).await.unwrap();
            refuse(tls, &said, manner).await;
        }
    });
    let mut api = authority.trusted();
    for _ in 0..tries {
        let outcome = attempt(&mut api, &receiver.https()).await;
        assert_eq!(outcome, answered(status), "{manner:?} in TLS");
    }
}

/// `writev` fails with a reset, and the answer was in the receive queue all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_answer_before_the_reset_is_read() {
    join_all(ALL.map(|manner| refused(413, manner))).await;
    join_all(ALL.map(|manner| refused(200, manner))).await;
}
