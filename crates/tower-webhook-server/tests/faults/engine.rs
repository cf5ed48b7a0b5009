//! The server between proxies and workers.

use crate::{
    nats_support::{self, cluster::Cluster},
    postgres_support::server,
};

pub(crate) enum Engine {
    Postgres(server::Server),
    Nats(nats_support::server::Server),
    NatsCluster(Cluster),
}

impl Engine {
    /// `None` where there is no server to be had.
    pub(crate) fn postgres() -> Option<Self> {
        server::Server::start(&["listen_addresses=127.0.0.1"]).map(Self::Postgres)
    }

    pub(crate) fn nats() -> Option<Self> {
        nats_support::server::Server::start().map(Self::Nats)
    }

    pub(crate) fn nats_cluster() -> Option<Self> {
        Cluster::start().map(Self::NatsCluster)
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Postgres(server) => postgres_url(&format!("127.0.0.1:{}", server.port())),
            Self::Nats(server) => server.address(),
            Self::NatsCluster(cluster) => cluster.address(),
        }
    }

    /// What an option for the outbox needs besides, such as `--outbox-replicas 1`.
    pub(crate) fn more(&self, option: &str) -> Vec<String> {
        match self {
            Self::Postgres(_) | Self::NatsCluster(_) => Vec::new(),
            Self::Nats(_) => vec![format!("--{option}-replicas"), "1".to_owned()],
        }
    }

    pub(crate) fn kill(&mut self) {
        match self {
            Self::Postgres(server) => server.kill(),
            Self::Nats(server) => server.kill(),
            Self::NatsCluster(cluster) => match fastrand::usize(..4) {
                3 => (0..3).for_each(|one| cluster.kill(one)),
                one => cluster.kill(one),
            },
        }
    }

    /// After it was killed or stopped.
    pub(crate) fn run(&mut self) {
        match self {
            Self::Postgres(server) => server.run(),
            Self::Nats(server) => server.restart(),
            Self::NatsCluster(cluster) => cluster.restart(),
        }
    }

    pub(crate) fn stop(&mut self) {
        match self {
            Self::Postgres(server) => server.stop(),
            Self::Nats(_) | Self::NatsCluster(_) => self.kill(),
        }
    }

    pub(crate) fn promote(&self) {
        match self {
            Self::Postgres(server) => server.promote(),
            Self::Nats(_) | Self::NatsCluster(_) => unreachable!("it has no standby"),
        }
    }
}

/// Of a database at these addresses.
pub(crate) fn postgres_url(at: &str) -> String {
    let settings = "sslmode=disable&target_session_attrs=read-write";
    format!("postgres://postgres@{at}/postgres?{settings}")
}
