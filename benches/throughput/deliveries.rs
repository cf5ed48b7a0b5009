//! Deliveries a second, against the peers.

use super::{
    endpoints::{dispatcher, endpoint},
    peer::{
        Compared, Handwritten, Layered, Load, Peer, axum, compare, http, https, plain, unguarded,
    },
    preemption,
    receiver::Receiver,
};
use crate::{
    row,
    support::{args::Args, report::Report},
};

const RECEIVERS: usize = 100;
const KNOWN: usize = 10_000;
/// What is outstanding where the table does not say otherwise.
const OUTSTANDING: usize = 256;
/// To many receivers nothing waits for a place, and room is made for a quarter of them at a time: of
/// so many outstanding 63 are attempts under way, on average, and the bare client has 64. (The
/// durations of all attempts together, against the time of the run.)
const OUTSTANDING_TO_MANY: usize = 80;

const VS_HYPER: &str = "deliveries_vs_hyper";
const VS_HANDWRITTEN: &str = "deliveries_vs_handwritten";
const MANY_VS_HYPER: &str = "deliveries_100_vs_hyper";
const TLS_VS_HYPER: &str = "deliveries_tls_vs_hyper";

pub(crate) async fn measure(args: &Args, report: &mut Report) {
    let prevented = preemption::prevent();
    if let Err(error) = &prevented {
        println!("\nThe threads preempt each other, as they cannot be made to take turns: {error}");
    }
    against_peers(args, report, &TAKING_TURNS).await;
    if args.wants(&["guarded_vs_plain"]) {
        guarded(args, report).await;
    }
    if args.wants(&["known_receivers_ratio"]) {
        many_known(args, report).await;
    }
    if args.wants(&["outstanding"]) {
        by_outstanding(args, report).await;
    }
    if prevented.and_then(|()| preemption::allow()).is_ok() {
        against_peers(args, report, &PREEMPTING).await;
    }
}

/// How the sender and the receiver share the processors.
struct Sharing {
    /// In a table's title.
    said: &'static str,
    /// Of a figure's name.
    suffix: &'static str,
    /// Whether it is what the plot shows.
    is_drawn: bool,
}

const TAKING_TURNS: Sharing = Sharing {
    said: "",
    suffix: "",
    is_drawn: true,
};
const PREEMPTING: Sharing = Sharing {
    said: ", threads preempting each other",
    suffix: "_preempting",
    is_drawn: false,
};

impl Sharing {
    fn wants(&self, args: &Args, figures: &[&str]) -> bool {
        figures
            .iter()
            .any(|figure| args.wants(&[&self.figure(figure)]))
    }

    fn figure(&self, name: &str) -> String {
        name.to_owned() + self.suffix
    }

    fn title(&self, title: &str) -> String {
        title.to_owned() + self.said
    }

    /// A bar of the plot for each of these peers, if it is drawn.
    fn plot(
        &self,
        report: &mut Report,
        x: &str,
        peers: &[&mut dyn Peer],
        compared: &Compared,
        at: &[usize],
    ) {
        for &at in at.iter().filter(|_| self.is_drawn) {
            let rate = compared.rates.median(at);
            report.point("deliveries", x, peers[at].name(), rate);
        }
    }
}

async fn against_peers(args: &Args, report: &mut Report, sharing: &Sharing) {
    if sharing.wants(args, &[VS_HYPER, VS_HANDWRITTEN]) {
        one_receiver(args, report, sharing).await;
    }
    if sharing.wants(args, &[MANY_VS_HYPER]) {
        many_receivers(args, report, sharing).await;
    }
    if sharing.wants(args, &[TLS_VS_HYPER]) {
        over_tls(args, report, sharing).await;
    }
}

pub(super) fn load(args: &Args, outstanding: usize) -> Load {
    Load {
        number: args.pick(4_096, 128),
        outstanding,
    }
}

fn rounds(args: &Args) -> usize {
    args.pick(21, 2)
}

async fn one_receiver(args: &Args, report: &mut Report, sharing: &Sharing) {
    let receiver = Receiver::start();
    let load = load(args, OUTSTANDING);
    let to = vec![endpoint("http", 0, receiver.http)];
    let mut ours = Layered::new(dispatcher(), to.clone(), plain);
    let mut in_axum = Layered::new(dispatcher(), to.clone(), axum);
    let mut bare = http(load.number, &to).await;
    let mut handwritten = Handwritten::new(to[0].clone());
    let peers: &mut [&mut dyn Peer] = &mut [&mut ours, &mut bare, &mut in_axum, &mut handwritten];
    let compared = compare(rounds(args), load, peers).await;
    let rows = [
        ("plain service", 1),
        ("", 1),
        ("axum app", 3),
        ("axum app", 3),
    ];
    table(
        report,
        &sharing.title("Deliveries of 1 KiB to one receiver"),
        peers,
        &compared,
        &rows,
    );
    sharing.plot(report, "1-receiver", peers, &compared, &[0, 1]);
    sharing.plot(report, "1-receiver,-from-axum", peers, &compared, &[2, 3]);
    let Compared { rates, .. } = compared;
    report.figure(&sharing.figure(VS_HYPER), rates.ratio(0, 1));
    report.figure(&sharing.figure(VS_HANDWRITTEN), rates.ratio(2, 3));
}

async fn many_receivers(args: &Args, report: &mut Report, sharing: &Sharing) {
    let receiver = Receiver::start();
    let load = load(args, OUTSTANDING_TO_MANY);
    let to = |number| endpoint("http", number, receiver.http);
    let to: Vec<_> = (0..RECEIVERS).map(to).collect();
    let mut ours = Layered::new(dispatcher(), to.clone(), plain);
    let mut bare = http(load.number, &to).await;
    let peers: &mut [&mut dyn Peer] = &mut [&mut ours, &mut bare];
    let compared = compare(rounds(args), load, peers).await;
    let rows = [("", 1), ("", 1)];
    table(
        report,
        &sharing.title("Deliveries of 1 KiB to 100 receivers"),
        peers,
        &compared,
        &rows,
    );
    sharing.plot(report, "100-receivers", peers, &compared, &[0, 1]);
    report.figure(&sharing.figure(MANY_VS_HYPER), compared.rates.ratio(0, 1));
}

async fn over_tls(args: &Args, report: &mut Report, sharing: &Sharing) {
    let receiver = Receiver::start();
    let load = load(args, OUTSTANDING);
    let to = vec![endpoint("https", 0, receiver.https)];
    let trusting = dispatcher()
        .with_root_certificates(receiver.authority.as_bytes())
        .expect("the authority has a certificate");
    let mut ours = Layered::new(trusting, to.clone(), plain);
    let mut bare = https(load.number, &to, &receiver.authority).await;
    let peers: &mut [&mut dyn Peer] = &mut [&mut ours, &mut bare];
    let compared = compare(rounds(args), load, peers).await;
    let rows = [("", 1), ("", 1)];
    table(
        report,
        &sharing.title("Deliveries of 1 KiB over TLS"),
        peers,
        &compared,
        &rows,
    );
    sharing.plot(report, "1-receiver,-TLS", peers, &compared, &[0, 1]);
    report.figure(&sharing.figure(TLS_VS_HYPER), compared.rates.ratio(0, 1));
}

/// What the guard and the capped socket cost: the same dispatcher posts with hyper-util's client
/// and its plain connector instead.
async fn guarded(args: &Args, report: &mut Report) {
    let receiver = Receiver::start();
    let load = load(args, OUTSTANDING);
    let to = vec![endpoint("http", 0, receiver.http)];
    let mut ours = Layered::new(dispatcher(), to.clone(), plain);
    let unguarded = dispatcher().with_client(unguarded());
    let mut unguarded = Layered::new(unguarded, to.clone(), plain);
    let peers: &mut [&mut dyn Peer] = &mut [&mut ours, &mut unguarded];
    let compared = compare(args.pick(101, 2), load, peers).await;
    let rows = [("guarded", 1), ("plain connector", 1)];
    table(
        report,
        "Deliveries of 1 KiB to one receiver, by what connects",
        peers,
        &compared,
        &rows,
    );
    report.figure("guarded_vs_plain", compared.rates.ratio(0, 1));
}

/// Known is a receiver that was delivered to before.
async fn many_known(args: &Args, report: &mut Report) {
    let receiver = Receiver::start();
    let load = load(args, OUTSTANDING);
    let known = args.pick(KNOWN, 100);
    let to = |number| endpoint("http", number, receiver.http);
    let mut one = Layered::new(dispatcher(), vec![to(0)], plain);
    let mut many = Layered::new(dispatcher(), (0..known).map(to).collect(), plain);
    let each_once = Load {
        number: known,
        ..load
    };
    many.run(each_once).await;
    many.deliver_to(vec![to(0)]);
    let peers: &mut [&mut dyn Peer] = &mut [&mut many, &mut one];
    let compared = compare(rounds(args), load, peers).await;
    let rows = [("10,000 receivers known", 1), ("1 receiver known", 1)];
    table(
        report,
        "Deliveries of 1 KiB to one receiver",
        peers,
        &compared,
        &rows,
    );
    report.figure("known_receivers_ratio", compared.rates.ratio(0, 1));
}

async fn by_outstanding(args: &Args, report: &mut Report) {
    let receiver = Receiver::start();
    let to = vec![endpoint("http", 0, receiver.http)];
    let mut ours = Layered::new(dispatcher(), to.clone(), axum);
    let mut bare = http(load(args, 1).number, &to).await;
    let mut handwritten = Handwritten::new(to[0].clone());
    let peers: &mut [&mut dyn Peer] = &mut [&mut ours, &mut bare, &mut handwritten];
    let mut table = vec![row!["outstanding"]];
    table[0].extend(peers.iter().map(|peer| peer.name().to_owned()));
    for outstanding in [1, 16, 256, 4_096] {
        let mut load = load(args, outstanding);
        load.number = match outstanding {
            1 => load.number / 4,
            4_096 => load.number * 2,
            _ => load.number,
        };
        let compared = compare(args.pick(7, 1), load, peers).await;
        let mut cells = row![outstanding];
        for (at, peer) in peers.iter().enumerate() {
            let rate = compared.rates.median(at);
            cells.push(format!("{rate:.0}"));
            report.point("outstanding", &outstanding.to_string(), peer.name(), rate);
        }
        table.push(cells);
    }
    report.table("Deliveries/s by how many are outstanding", &table);
}

/// A row for each peer: what it is, and which peer it is measured against.
pub(super) fn table(
    report: &Report,
    title: &str,
    peers: &[&mut dyn Peer],
    compared: &Compared,
    rows: &[(&str, usize)],
) {
    let mut table = vec![row!["", "", "deliveries/s", "ratio", "sender's µs each"]];
    for (at, (peer, (what, against))) in peers.iter().zip(rows).enumerate() {
        table.push(row![
            peer.name(),
            what,
            format!("{:.0}", compared.rates.median(at)),
            format!("{:.3}", compared.rates.ratio(at, *against)),
            format!("{:.1}", compared.costs.median(at)),
        ]);
    }
    report.table(title, &table);
}
