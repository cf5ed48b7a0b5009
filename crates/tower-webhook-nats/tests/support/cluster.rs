//! Three servers that keep everything three times.

#![allow(dead_code)] // not every test program needs it

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    net::TcpListener,
};

use super::server::Server;

pub(crate) struct Cluster {
    servers: Vec<Server>,
    /// Those that were killed.
    killed: Vec<usize>,
}

/// Each server has to know the others' before they start, and one that is restarted needs its own again: so they
/// are none of those that whoever binds port 0 is given.
fn free_ports() -> [u16; 3] {
    let mut number = RandomState::new().build_hasher().finish();
    [(); 3].map(|()| {
        loop {
            number = number.wrapping_add(1);
            let port = 10_000 + u16::try_from(number % 20_000).unwrap();
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return port;
            }
        }
    })
}

impl Cluster {
    /// `None` where there is no program to run. It takes seconds until they have found each other.
    pub(crate) fn start() -> Option<Self> {
        let ports = free_ports();
        let routes = ports.map(|port| format!("\"nats://127.0.0.1:{port}\""));
        let routes = routes.join(", ");
        let servers = ports.iter().enumerate().map(|(number, port)| {
            Server::start_with(&format!(
                "max_payload: 8MB\nserver_name: server-{number}\ncluster {{ name: webhooks, \
                 listen: \"127.0.0.1:{port}\", routes: [ {routes} ] }}"
            ))
        });
        let servers = servers.collect::<Option<_>>()?;
        let killed = Vec::new();
        Some(Self { servers, killed })
    }

    /// Of all of them, with commas.
    pub(crate) fn address(&self) -> String {
        let addresses: Vec<_> = self.servers.iter().map(Server::address).collect();
        addresses.join(",")
    }

    /// With SIGKILL.
    pub(crate) fn kill(&mut self, number: usize) {
        self.servers[number].kill();
        self.killed.push(number);
    }

    /// Those that were killed, on their stores.
    pub(crate) fn restart(&mut self) {
        for number in self.killed.drain(..) {
            self.servers[number].restart();
        }
    }
}
