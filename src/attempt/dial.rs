use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures_util::future::{Either, select};
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    time::{sleep, timeout},
};
use tower::ServiceExt;

use super::{
    error::ConnectError,
    places::{Place, Places},
    sockets::SocketShares,
};
use crate::error::BoxError;

/// How long the addresses of one family are tried before those of the other are tried beside them:
/// what hyper-util and most browsers use, as RFC 8305 recommends 250 ms.
const HAPPY_EYEBALLS: Duration = Duration::from_millis(300);

/// Opens connections. Each takes one socket, and for a while a second one where there is room for it.
pub(super) struct Dialer {
    /// The time for the addresses of one family, which are tried in turn with equal shares of it.
    within: Duration,
    places: Arc<Places>,
    second_sockets: Semaphore,
    /// Asked for addresses only, so that it resolves nothing.
    connector: HttpConnector,
}

type Dialled = Result<(TcpStream, Place), BoxError>;

impl Dialer {
    pub(super) fn new(within: Duration, sockets: SocketShares, per_host: usize) -> Self {
        Self {
            within,
            places: Arc::new(Places::new(sockets.attempts, per_host)),
            second_sockets: Semaphore::new(sockets.second),
            connector: connector(),
        }
    }

    /// Connects to the first of these addresses that accepts. The family of the first one comes
    /// first, and the other one a moment later.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Crowded`] when too many others wait for an answer of an address that was not
    /// tried for that reason.
    pub(super) async fn dial(&self, addresses: &[IpAddr], port: u16) -> Dialled {
        let is_v4 = addresses.first().is_some_and(IpAddr::is_ipv4);
        let addresses = addresses.iter().map(|&ip| SocketAddr::new(ip, port));
        let (preferred, others): (Vec<_>, Vec<_>) =
            addresses.partition(|address| address.is_ipv4() == is_v4);
        let mut preferred = pin!(self.dial_in_turn(&preferred));
        if others.is_empty() {
            return preferred.await;
        }
        let first = match select(preferred.as_mut(), pin!(sleep(HAPPY_EYEBALLS))).await {
            Either::Left((Ok(dialled), _)) => return Ok(dialled),
            Either::Left((Err(error), _)) => Some(error),
            Either::Right(_) => None,
        };
        let others = self.dial_in_turn(&others);
        if let Some(error) = first {
            return others.await.map_err(|other| worse(error, other));
        }
        let Ok(_second) = self.second_sockets.try_acquire() else {
            return match preferred.await {
                Ok(dialled) => Ok(dialled),
                Err(error) => others.await.map_err(|other| worse(error, other)),
            };
        };
        match select(preferred, pin!(others)).await {
            Either::Left((Ok(dialled), _)) | Either::Right((Ok(dialled), _)) => Ok(dialled),
            Either::Left((Err(error), left)) => left.await.map_err(|other| worse(error, other)),
            Either::Right((Err(error), left)) => left.await.map_err(|other| worse(error, other)),
        }
    }

    async fn dial_in_turn(&self, addresses: &[SocketAddr]) -> Dialled {
        let each = self.within / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let mut error: BoxError = ConnectError::Unresolved.into();
        for (at, &address) in addresses.iter().enumerate() {
            let dialled = match self.places.take(address) {
                Some(place) => self.connect(address, each).await.map(|tcp| (tcp, place)),
                None => Err(ConnectError::Crowded.into()),
            };
            match dialled {
                Ok(dialled) => return Ok(dialled),
                Err(other) if at == 0 => error = other,
                Err(other) => error = worse(error, other),
            }
        }
        Err(error)
    }

    async fn connect(&self, address: SocketAddr, within: Duration) -> Result<TcpStream, BoxError> {
        let target = Uri::builder().scheme("http").authority(address.to_string());
        let target = target.path_and_query("/").build()?;
        let tcp = timeout(within, self.connector.clone().oneshot(target)).await;
        let tcp = tcp.map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(tcp.into_inner())
    }
}

fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector
}

/// Of two errors the one to act upon: an address that was not tried may be one that accepts.
fn worse(first: BoxError, second: BoxError) -> BoxError {
    match second.downcast_ref() {
        Some(ConnectError::Crowded) => second,
        _ => first,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use tokio::{
        net::{TcpListener, TcpSocket},
        time::{Instant, pause},
    };

    use super::*;

    const WITHIN: Duration = Duration::from_secs(5);
    const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    /// Drops what is sent to it, as it has no room for another connection.
    struct Silent {
        port: u16,
        _listener: TcpListener,
        _waits: TcpStream,
    }

    impl Silent {
        async fn at(ip: Ipv4Addr) -> Self {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((ip, 0).into()).unwrap();
            let address = socket.local_addr().unwrap();
            Self {
                port: address.port(),
                // There is always room for one.
                _listener: socket.listen(0).unwrap(),
                _waits: TcpStream::connect(address).await.unwrap(),
            }
        }
    }

    fn dialer(second: usize) -> Dialer {
        Dialer {
            within: WITHIN,
            places: Arc::new(Places::new(64, 4)),
            second_sockets: Semaphore::new(second),
            connector: connector(),
        }
    }

    /// A dialer that has these second sockets finds the address of the other family after this time;
    /// `None` where there is no IPv6.
    async fn found_after(second: usize) -> Option<Duration> {
        let silent = Silent::at(Ipv4Addr::LOCALHOST).await;
        let _accepts = TcpListener::bind((V6, silent.port)).await.ok()?;
        pause();
        let began = Instant::now();
        let dialer = dialer(second);
        let (tcp, _) = dialer.dial(&[V4, V6], silent.port).await.unwrap();
        assert!(tcp.peer_addr().unwrap().is_ipv6());
        assert_eq!(dialer.second_sockets.available_permits(), second);
        Some(began.elapsed())
    }

    #[tokio::test]
    async fn the_other_family_is_tried_beside_one_that_is_silent() {
        let after = found_after(1).await;
        assert!(
            after.is_none_or(|after| after < 2 * HAPPY_EYEBALLS),
            "{after:?}"
        );
    }

    #[tokio::test]
    async fn without_a_second_socket_it_is_tried_after_it() {
        let after = found_after(0).await;
        let expected = WITHIN..WITHIN + HAPPY_EYEBALLS;
        assert!(
            after.is_none_or(|after| expected.contains(&after)),
            "{after:?}"
        );
    }

    #[tokio::test]
    async fn an_address_that_is_crowded_does_not_hide_the_next_one() {
        let listener = TcpListener::bind((V4, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let dialer = dialer(1);
        let taken: Vec<_> = std::iter::from_fn(|| dialer.places.take(address)).collect();
        let error = dialer.dial(&[V4], address.port()).await.unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(ConnectError::Crowded)));

        // Nobody listens at the other one: whether the first one would accept is open.
        let other = Ipv4Addr::new(127, 0, 0, 2).into();
        for addresses in [[other, V4], [V4, other]] {
            let error = dialer.dial(&addresses, address.port()).await.unwrap_err();
            assert!(matches!(error.downcast_ref(), Some(ConnectError::Crowded)));
        }
        drop(taken);
        assert!(dialer.dial(&[other, V4], address.port()).await.is_ok());
    }
}
