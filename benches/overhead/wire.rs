//! Requests over loopback, to the apps in their process: how many a second, and how long to the
//! first byte.

use std::time::Instant;

use tokio::{net::TcpStream, task::JoinSet};

use super::{
    apps::{self, Apps},
    awake,
    exchange::{Caller, blocking_caller, request},
};
use crate::{
    row,
    support::{
        args::Args,
        cpu,
        report::Report,
        rounds::{Rounds, median},
    },
};

pub(crate) const RATES: &[&str] = &["passthrough_rps_ratio", "captured_rps_ratio"];
pub(crate) const LATENCIES: &[&str] = &["captured_ttfb_added_us", "captured_ttfb_asleep_us"];

const CONNECTIONS: usize = 16;
/// So many calls to one app before it is another one's turn: where each call goes to another app,
/// its code is no longer in a near cache, which is no server's lot.
const IN_A_ROW: usize = 10;
const PATHS: [(&str, &str); 4] = [
    ("1KiB", "/1k"),
    ("64KiB", "/64k"),
    ("1MiB", "/1m"),
    ("stream", "/sse"),
];

pub(crate) fn rates(args: &Args, report: &mut Report) {
    for role in [apps::ONE_THREAD, apps::ROLE] {
        let apps = Apps::start(role);
        let mut table = vec![row![
            "requests of 1 KiB",
            "requests/s",
            "ratio",
            "server's µs each"
        ]];
        for (figure, inside) in [(RATES[0], apps.inside), (RATES[1], apps.capturing_inside)] {
            let wish = figure == RATES[1];
            let request = request("/1k", wish);
            let sides = [
                ("without the layer", apps.plain),
                ("the layer in the router", inside),
                ("Identity in the router", apps.identity),
            ];
            let (mut rates, mut costs) = (Rounds::new(sides.len()), Rounds::new(sides.len()));
            for _ in 0..args.pick(61, 2) {
                for side in rates.order() {
                    let number = args.pick(250, 10);
                    let (rate, cost) = burst(&apps, sides[side].1, &request, number);
                    rates.add(side, rate);
                    costs.add(side, cost);
                }
            }
            for (side, (name, _)) in sides.into_iter().enumerate() {
                table.push(row![
                    format!("{}, {name}", if wish { "webhook" } else { "no webhook" }),
                    format!("{:.0}", rates.median(side)),
                    format!("{:.3}", rates.ratio(side, 0)),
                    format!("{:.2}", costs.median(side)),
                ]);
            }
            if role == apps::ROLE {
                report.figure(figure, rates.ratio(1, 0));
            }
        }
        let threads = match role {
            apps::ONE_THREAD => "one thread",
            _ => "as many threads as cores, as `#[tokio::main]` has it",
        };
        let title = format!("Requests to axum over loopback, 16 connections, served on {threads}");
        report.table(&title, &table);
    }
}

/// Requests a second, and the server's microseconds on a processor for each.
fn burst(apps: &Apps, port: u16, request: &[u8], number: usize) -> (f64, f64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut callers = Vec::new();
        for _ in 0..CONNECTIONS {
            let stream = TcpStream::connect(("127.0.0.1", port)).await;
            let mut caller = Caller::new(stream.expect("the app listens"));
            caller.learn_length(request).await;
            callers.push(caller);
        }
        let before = cpu::time_of(apps.id);
        let started = Instant::now();
        let mut calling = JoinSet::new();
        for mut caller in callers {
            let request = request.to_vec();
            calling.spawn(async move {
                for _ in 0..number {
                    caller.call(&request).await;
                }
            });
        }
        while let Some(ended) = calling.join_next().await {
            ended.expect("every call is answered");
        }
        let took = started.elapsed();
        let cost = cpu::time_of(apps.id) - before;
        let calls = (number * CONNECTIONS) as f64;
        (calls / took.as_secs_f64(), cost.as_secs_f64() * 1e6 / calls)
    })
}

pub(crate) fn latencies(args: &Args, report: &mut Report) {
    let table = "Time to the first byte over loopback, one request at a time";
    match awake::keep() {
        Ok(_awake) => {
            let (worst, points) = first_bytes(args, report, table);
            for (name, peer, added) in points {
                report.point("ttfb_added_us", name, peer, added);
            }
            report.figure(LATENCIES[0], worst);
        }
        Err(error) => println!("\nThe processors cannot be kept awake: {error}"),
    }
    let table = format!("{table}, on processors that fall asleep");
    let (worst, _) = first_bytes(args, report, &table);
    report.figure(LATENCIES[1], worst);
}

/// A response, a peer, and what that adds.
type Point = (&'static str, &'static str, f64);

/// The most microseconds that the layer adds, and each of its and its peers'.
fn first_bytes(args: &Args, report: &Report, title: &str) -> (f64, Vec<Point>) {
    let apps = Apps::start(apps::ROLE);
    let mut points = Vec::new();
    let sides = [
        ("none", apps.plain),
        ("tower-webhook", apps.capturing_inside),
        ("hyper-util", apps.bare),
        ("hand-written", apps.handwritten),
        ("Identity", apps.identity),
    ];
    let mut table = vec![row![
        "response",
        "without, µs",
        "the layer adds, µs",
        "a bare task adds, µs",
        "the hand-written one adds, µs",
        "Identity adds, µs",
    ]];
    let mut worst = f64::MIN;
    for (name, path) in PATHS {
        let request = request(path, true);
        let mut callers = sides.map(|(_, port)| blocking_caller(port));
        let mut rounds = Rounds::new(sides.len());
        for _ in 0..args.pick(21, 2) {
            let mut micros = vec![Vec::new(); sides.len()];
            for _ in 0..args.pick(if path == "/sse" { 5 } else { 30 }, 1) {
                for side in rounds.order() {
                    for _ in 0..IN_A_ROW {
                        micros[side].push(callers[side].first_byte(&request));
                    }
                }
            }
            for (side, micros) in micros.into_iter().enumerate() {
                rounds.add(side, median(micros));
            }
        }
        let added = [1, 2, 3, 4].map(|side| rounds.difference(side, 0));
        worst = worst.max(added[0]);
        let mut cells = row![name, format!("{:.1}", rounds.median(0))];
        for (added, (peer, _)) in added.into_iter().zip(&sides[1..]) {
            cells.push(format!("{added:.1}"));
            if *peer != "Identity" {
                points.push((name, *peer, added));
            }
        }
        table.push(cells);
    }
    report.table(title, &table);
    (worst, points)
}
