//! A delivery of 1 MiB, signed and handed to a client that answers at once, against SHA-256 over
//! the same bytes: all that the layer and its dispatcher do is counted as signing.

use std::{convert::Infallible, future::ready, hint::black_box, iter::repeat_n, time::Instant};

use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{Empty, StreamBody};
use sha2::{Digest, Sha256};
use tower::{Layer, service_fn};
use tower_webhook::Payload;

use super::{
    endpoints::dispatcher,
    peer::{Layered, Load, Peer},
};
use crate::{
    row,
    support::{args::Args, report::Report, rounds::Rounds},
};

pub(crate) const FIGURES: &[&str] = &["sign_1mib_vs_sha2"];

const FRAMES: usize = 16;
const FRAME: &[u8] = &[b'x'; 64 << 10];
const ONE_AFTER_THE_OTHER: Load = Load {
    number: 8,
    outstanding: 1,
};

pub(crate) fn measure(args: &Args, report: &mut Report) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let answers = service_fn(|request: Request<Payload>| {
        black_box(request);
        ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    let to = vec!["http://receiver-0.example.com/hook".to_owned()];
    let mut ours = Layered::new(dispatcher().with_client(answers), to, |layer| {
        let frame = || Ok::<_, Infallible>(Frame::data(Bytes::from_static(FRAME)));
        let body =
            move || StreamBody::new(stream::iter(repeat_n((), FRAMES).map(move |()| frame())));
        layer.layer(service_fn(move |_| {
            ready(Ok::<_, Infallible>(Response::new(body())))
        }))
    });
    let whole = FRAME.repeat(FRAMES);
    let mut rounds = Rounds::new(2);
    for _ in 0..args.pick(101, 3) {
        for side in rounds.order() {
            let took = match side {
                0 => runtime.block_on(ours.run(ONE_AFTER_THE_OTHER)),
                _ => {
                    let started = Instant::now();
                    for _ in 0..ONE_AFTER_THE_OTHER.number {
                        black_box(Sha256::digest(black_box(&whole)));
                    }
                    started.elapsed()
                }
            };
            let bytes = (ONE_AFTER_THE_OTHER.number * whole.len()) as f64;
            rounds.add(side, bytes / took.as_secs_f64() / 1e6);
        }
    }
    let table = [
        row!["", "MB/s"],
        row![
            "a delivery, but for its sending",
            format!("{:.0}", rounds.median(0))
        ],
        row!["sha2", format!("{:.0}", rounds.median(1))],
    ];
    report.table("Signing 1 MiB", &table);
    report.figure("sign_1mib_vs_sha2", rounds.ratio(0, 1));
}
