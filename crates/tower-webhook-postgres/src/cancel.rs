//! Cancel requests. The driver's own closes the connection of a request at once, of which PgBouncer 1.18 dies:
//! here, as in libpq, the server closes it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::{TryFutureExt, future::MapOk};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_postgres::{
    CancelToken, Config,
    config::Host,
    tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{PostgresOutboxError, PostgresOutboxErrorKind as Kind};

/// A stream whose shutdown waits until the other end has closed it.
struct Lingering<S>(S);

/// Makes such a stream of a TLS stream, too.
struct LingeringTls<T>(T);

/// Cancels what runs on a connection to this address.
pub(crate) async fn cancel(
    token: &CancelToken,
    address: &Config,
    tls: MakeRustlsConnect,
) -> Result<(), PostgresOutboxError> {
    let name = match address.get_hosts() {
        [Host::Tcp(name), ..] => name,
        _ => "",
    };
    let port = address.get_ports().first().copied().unwrap_or(5_432);
    let unavailable = |_| Kind::Unavailable;
    match (address.get_hostaddrs(), address.get_hosts()) {
        #[cfg(unix)]
        ([], [Host::Unix(folder), ..]) => {
            let socket = folder.join(format!(".s.PGSQL.{port}"));
            let stream = tokio::net::UnixStream::connect(socket).await;
            send(token, stream.map_err(unavailable)?, name, tls).await
        }
        ([], _) => {
            let stream = TcpStream::connect((name, port)).await;
            send(token, stream.map_err(unavailable)?, name, tls).await
        }
        ([ip, ..], _) => {
            let stream = TcpStream::connect((*ip, port)).await;
            send(token, stream.map_err(unavailable)?, name, tls).await
        }
    }
}

async fn send<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    token: &CancelToken,
    stream: S,
    name: &str,
    mut tls: MakeRustlsConnect,
) -> Result<(), PostgresOutboxError> {
    let tls = MakeTlsConnect::<Lingering<S>>::make_tls_connect(&mut tls, name);
    let tls = LingeringTls(tls.map_err(|_| Kind::Tls)?);
    token.cancel_query_raw(Lingering(stream), tls).await?;
    Ok(())
}

impl<S, T: TlsConnect<Lingering<S>>> TlsConnect<Lingering<S>> for LingeringTls<T> {
    type Stream = Lingering<T::Stream>;
    type Error = T::Error;
    type Future = MapOk<T::Future, fn(T::Stream) -> Self::Stream>;

    fn connect(self, stream: Lingering<S>) -> Self::Future {
        self.0.connect(stream).map_ok(Lingering)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Lingering<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.0.channel_binding()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; 64];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer));
            // A server may end a TLS connection without the message for that, which is an error.
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}
