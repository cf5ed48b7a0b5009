//! The sockets of look-ups, counted.

use std::{
    future::Future,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::io::{AsyncRead, AsyncWrite};
use hickory_resolver::{
    ConnectionProvider, PoolContext,
    config::{ConnectionConfig, ProtocolConfig},
    net::{
        NetError,
        runtime::{DnsTcpStream, DnsUdpSocket, RuntimeProvider, TokioRuntimeProvider},
        udp::UdpClientStream,
        xfer::DnsExchange,
    },
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How often a query is sent to one name server before the next one is asked. Each time takes a
/// socket.
const SENDS: u8 = 2;

/// The sockets that one look-up has at most: a query for each family, sent twice.
pub(super) const SOCKETS_OF_A_LOOKUP: usize = 2 * SENDS as usize;

type Opening<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// hickory's connections to name servers, in Tokio, each of which takes a permit.
#[derive(Clone)]
pub(super) struct CountedConnections(CountedRuntime);

/// See [`CountedConnections`].
#[derive(Clone)]
pub(super) struct CountedRuntime {
    tokio: TokioRuntimeProvider,
    permits: Arc<Semaphore>,
    /// The scopes of name servers at link-local addresses, which hickory does not know.
    scopes: Arc<[(Ipv6Addr, u32)]>,
}

/// A socket, and its permit. It is closed before the permit is given back.
pub(super) struct Counted<T> {
    socket: T,
    scopes: Arc<[(Ipv6Addr, u32)]>,
    _permit: OwnedSemaphorePermit,
}

impl CountedConnections {
    pub(super) fn new(permits: Arc<Semaphore>, scopes: Arc<[(Ipv6Addr, u32)]>) -> Self {
        Self(CountedRuntime {
            tokio: TokioRuntimeProvider::default(),
            permits,
            scopes,
        })
    }
}

impl CountedRuntime {
    fn open<T: 'static>(&self, opening: Opening<io::Result<T>>) -> Opening<io::Result<Counted<T>>> {
        let Self {
            permits, scopes, ..
        } = self.clone();
        Box::pin(async move {
            let permit = permits.acquire_owned().await.map_err(io::Error::other)?;
            Ok(Counted {
                socket: opening.await?,
                scopes,
                _permit: permit,
            })
        })
    }
}

fn scoped(address: SocketAddr, scopes: &[(Ipv6Addr, u32)]) -> SocketAddr {
    let scope = scopes.iter().find(|(ip, _)| address.ip() == *ip);
    match scope {
        Some(&(ip, scope)) => SocketAddrV6::new(ip, address.port(), 0, scope).into(),
        None => address,
    }
}

impl ConnectionProvider for CountedConnections {
    type Conn = DnsExchange<CountedRuntime>;
    type FutureConn = Opening<Result<Self::Conn, NetError>>;
    type RuntimeProvider = CountedRuntime;

    fn new_connection(
        &self,
        ip: IpAddr,
        config: &ConnectionConfig,
        cx: &PoolContext,
    ) -> Result<Self::FutureConn, NetError> {
        match config.protocol {
            ProtocolConfig::Udp => {
                let server = SocketAddr::new(ip, config.port);
                let stream = UdpClientStream::builder(server, self.0.clone())
                    .with_timeout(Some(cx.options.timeout))
                    .with_max_retries(SENDS);
                Ok(Box::pin(async { Ok(stream.exchange()) }))
            }
            _ => self.0.new_connection(ip, config, cx),
        }
    }

    fn runtime_provider(&self) -> &CountedRuntime {
        &self.0
    }
}

impl RuntimeProvider for CountedRuntime {
    type Handle = <TokioRuntimeProvider as RuntimeProvider>::Handle;
    type Timer = <TokioRuntimeProvider as RuntimeProvider>::Timer;
    type Udp = Counted<<TokioRuntimeProvider as RuntimeProvider>::Udp>;
    type Tcp = Counted<<TokioRuntimeProvider as RuntimeProvider>::Tcp>;

    fn create_handle(&self) -> Self::Handle {
        self.tokio.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        bind: Option<SocketAddr>,
        within: Option<Duration>,
    ) -> Opening<io::Result<Self::Tcp>> {
        let server = scoped(server, &self.scopes);
        self.open(self.tokio.connect_tcp(server, bind, within))
    }

    fn bind_udp(&self, local: SocketAddr, server: SocketAddr) -> Opening<io::Result<Self::Udp>> {
        self.open(self.tokio.bind_udp(local, server))
    }
}

impl<T: DnsUdpSocket> DnsUdpSocket for Counted<T> {
    type Time = T::Time;

    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.socket.poll_recv_from(cx, buf)
    }

    fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
        server: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.socket
            .poll_send_to(cx, buf, scoped(server, &self.scopes))
    }
}

impl<T: DnsTcpStream> DnsTcpStream for Counted<T> {
    type Time = T::Time;
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}
