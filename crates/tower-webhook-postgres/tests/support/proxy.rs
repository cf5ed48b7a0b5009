//! A TCP proxy in front of the shared server.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, UnixStream},
    sync::watch,
};

use super::{place::Place, server};

pub(crate) struct Proxy {
    address: SocketAddr,
    pub(crate) flows: Arc<watch::Sender<bool>>,
    cuts: Arc<watch::Sender<()>>,
}

impl Proxy {
    async fn start(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let flows = Arc::new(watch::Sender::new(true));
        let cuts = Arc::new(watch::Sender::new(()));
        let (gate, knife) = (Arc::clone(&flows), Arc::clone(&cuts));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (near_read, near_write) = client.into_split();
                let Ok(server) = UnixStream::connect(&socket).await else {
                    continue;
                };
                let (far_read, far_write) = server.into_split();
                let there = copy(near_read, far_write, gate.subscribe());
                tokio::spawn(until_cut(there, knife.subscribe()));
                let back = copy(far_read, near_write, gate.subscribe());
                tokio::spawn(until_cut(back, knife.subscribe()));
            }
        });
        Self {
            address,
            flows,
            cuts,
        }
    }

    /// Closes all connections.
    pub(crate) fn cut(&self) {
        self.cuts.send_replace(());
    }
}

async fn until_cut(copy: impl Future<Output = ()>, mut cuts: watch::Receiver<()>) {
    tokio::select! {
        () = copy => {}
        _ = cuts.changed() => {}
    }
}

/// Forwards while the gate is open.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut flows: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        if flows.wait_for(|flows| *flows).await.is_err() {
            return;
        }
        let Ok(read @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        if flows.wait_for(|flows| *flows).await.is_err()
            || to.write_all(&buffer[..read]).await.is_err()
        {
            return;
        }
    }
}

/// A schema on the shared server, reached through a proxy; `None` if PostgreSQL is not installed.
pub(crate) async fn behind_a_proxy() -> Option<(Place, Proxy)> {
    let server = server::shared()?;
    let proxy = Proxy::start(server.socket()).await;
    let port = proxy.address.port();
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable");
    Some((
        Place {
            url,
            ..server.place()
        },
        proxy,
    ))
}
