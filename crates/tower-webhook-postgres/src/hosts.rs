//! The hosts of the connection string, which are dialled one after the other.

use std::{
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{net::lookup_host, time::timeout};
use tokio_postgres::{
    Client, Config, Connection, Error, Socket,
    config::{Host, LoadBalanceHosts},
    tls::MakeTlsConnect,
};
use tokio_postgres_rustls::MakeRustlsConnect;

type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// A client, and what drives it.
type Dialled = (Client, Connection<Socket, Stream>);

/// Remembers where dialling begins: at the address that worked last, or after one that did not.
pub(crate) struct Hosts {
    timeout: Duration,
    first: Mutex<Option<Address>>,
}

/// One address of one host. Without an IP address it is a socket file, or a name that was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Address {
    host: usize,
    ip: Option<IpAddr>,
}

/// Dialling an address. Unless it works, the next dialling begins at the next address. That includes one that
/// is dropped, because its caller waits no longer.
struct Turn<'a> {
    hosts: &'a Hosts,
    address: Address,
    next: Option<Address>,
}

impl Hosts {
    /// Dialling all addresses takes less than the timeout.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            first: Mutex::default(),
        }
    }

    /// Each address has its share of the time, and the last one what is left: whoever waits for a connection
    /// has a timeout, too. The connection comes with its address.
    pub(crate) async fn connect(
        &self,
        config: &Config,
        tls: &MakeRustlsConnect,
    ) -> Result<(Config, Dialled), Error> {
        let addresses = self.addresses(config).await;
        let share = self.share(addresses.len());
        let limit = config
            .get_connect_timeout()
            .map_or(share, |at_most| share.min(*at_most));
        for (nth, (address, one)) in addresses.iter().enumerate() {
            let next = addresses.get(nth + 1);
            let turn = Turn {
                hosts: self,
                address: *address,
                next: next.or(addresses.first()).map(|(next, _)| *next),
            };
            let connecting = one.connect(tls.clone());
            let connected = match next {
                Some(_) => timeout(limit, connecting).await,
                None => Ok(connecting.await),
            };
            match connected {
                Ok(Ok(connected)) => {
                    turn.succeed();
                    return Ok((one.clone(), connected));
                }
                Ok(Err(error)) if next.is_none() => return Err(error),
                Ok(Err(_)) | Err(_) => {}
            }
        }
        // There is none, which is an error of the driver's.
        let connected = config.connect(tls.clone()).await?;
        Ok((config.clone(), connected))
    }

    /// One share is left for what the connection is for.
    fn share(&self, number: usize) -> Duration {
        match u32::try_from(number) {
            Ok(number @ 2..) => self.timeout / number.saturating_add(1),
            _ => self.timeout,
        }
    }

    /// All addresses of all hosts, in the order in which they are dialled.
    async fn addresses(&self, config: &Config) -> Vec<(Address, Config)> {
        let hosts = each(config);
        let limit = self.share(hosts.len());
        let found = hosts.into_iter().enumerate().map(async |(host, config)| {
            // Without an answer, the driver asks again and says what is wrong.
            let found = timeout(limit, look_up(&config)).await.unwrap_or_default();
            let of = |ip| (Address { host, ip }, with_ip(&config, ip));
            match found.is_empty() {
                true => vec![of(None)],
                false => found.into_iter().map(|ip| of(Some(ip))).collect(),
            }
        });
        let mut addresses = join_all(found).await.concat();
        if config.get_load_balance_hosts() == LoadBalanceHosts::Random {
            fastrand::shuffle(&mut addresses);
            return addresses;
        }
        let first = *self.first();
        let begin = addresses.iter().position(|(one, _)| Some(*one) == first);
        addresses.rotate_left(begin.unwrap_or(0));
        addresses
    }

    fn first(&self) -> MutexGuard<'_, Option<Address>> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    fn succeed(mut self) {
        self.next = None;
        *self.hosts.first() = Some(self.address);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.next.is_none() {
            return;
        }
        let mut first = self.hosts.first();
        // Another connection may have found one that works meanwhile.
        if first.is_none_or(|first| first == self.address) {
            *first = self.next;
        }
    }
}

/// The addresses of the host's name; none for a socket file, or where its address was given.
async fn look_up(config: &Config) -> Vec<IpAddr> {
    match config.get_hosts() {
        [Host::Tcp(name)] if config.get_hostaddrs().is_empty() => {
            let found = lookup_host((&**name, 0)).await;
            found.map_or_else(|_| Vec::new(), |found| found.map(|one| one.ip()).collect())
        }
        _ => Vec::new(),
    }
}

fn with_ip(config: &Config, ip: Option<IpAddr>) -> Config {
    let mut config = config.clone();
    if let Some(ip) = ip {
        config.hostaddr(ip);
    }
    config
}

/// A configuration for each host. One that the driver refuses is left to it.
fn each(config: &Config) -> Vec<Config> {
    let (hosts, ips, ports) = (
        config.get_hosts(),
        config.get_hostaddrs(),
        config.get_ports(),
    );
    let number = hosts.len().max(ips.len());
    let is_fine = |given: usize| given == number || given == 0;
    if !is_fine(hosts.len()) || !is_fine(ips.len()) || !is_fine(ports.len()) && ports.len() > 1 {
        return Vec::new();
    }
    let one = |index| {
        let mut one = without_hosts(config);
        match hosts.get(index) {
            Some(Host::Tcp(name)) => drop(one.host(name)),
            #[cfg(unix)]
            Some(Host::Unix(path)) => drop(one.host_path(path)),
            None => {}
        }
        if let Some(ip) = ips.get(index) {
            one.hostaddr(*ip);
        }
        if let Some(port) = ports.get(index).or(ports.first()) {
            one.port(*port);
        }
        one
    };
    (0..number).map(one).collect()
}

/// The driver has no way to remove hosts.
fn without_hosts(config: &Config) -> Config {
    let mut one = Config::new();
    if let Some(user) = config.get_user() {
        one.user(user);
    }
    if let Some(password) = config.get_password() {
        one.password(password);
    }
    if let Some(name) = config.get_dbname() {
        one.dbname(name);
    }
    if let Some(options) = config.get_options() {
        one.options(options);
    }
    if let Some(name) = config.get_application_name() {
        one.application_name(name);
    }
    if let Some(time) = config.get_connect_timeout() {
        one.connect_timeout(*time);
    }
    if let Some(time) = config.get_tcp_user_timeout() {
        one.tcp_user_timeout(*time);
    }
    if let Some(time) = config.get_keepalives_interval() {
        one.keepalives_interval(time);
    }
    if let Some(number) = config.get_keepalives_retries() {
        one.keepalives_retries(number);
    }
    one.ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding())
        .load_balance_hosts(config.get_load_balance_hosts());
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(3);

    fn config(text: &str) -> Config {
        text.parse().unwrap()
    }

    #[test]
    fn a_host_keeps_all_settings() {
        let one = config(
            "host=a.example hostaddr=192.0.2.1 port=1 user=u password=p dbname=d options=o
             application_name=n sslmode=require sslnegotiation=direct connect_timeout=2
             tcp_user_timeout=3 keepalives=0 keepalives_idle=4 keepalives_interval=5
             keepalives_retries=6 target_session_attrs=read-write channel_binding=require
             load_balance_hosts=random",
        );
        assert!(each(&one) == [one]);
    }

    #[test]
    fn each_host_has_its_address_and_its_port() {
        let both = each(&config("host=a,/b hostaddr=192.0.2.1,192.0.2.2 port=1,2"));
        let of = |text| config(text);
        assert!(both[0] == of("host=a hostaddr=192.0.2.1 port=1"));
        assert!(both[1] == of("host=/b hostaddr=192.0.2.2 port=2"));
        let one_port = each(&config("host=a,b port=7"));
        assert!(one_port == [of("host=a port=7"), of("host=b port=7")]);
        assert!(each(&config("host=a,b hostaddr=192.0.2.1")).is_empty());
    }

    #[tokio::test]
    async fn dialling_begins_with_what_worked_last_and_goes_on_after_what_did_not() {
        let config = config("host=192.0.2.1,192.0.2.2,/c");
        let hosts = Hosts::new(TIMEOUT);
        let order = async || {
            let addresses = hosts.addresses(&config).await;
            let hosts = addresses.iter().map(|(address, _)| address.host);
            hosts.collect::<Vec<_>>()
        };
        let turn = async || {
            let addresses = hosts.addresses(&config).await;
            Turn {
                hosts: &hosts,
                address: addresses[0].0,
                next: Some(addresses[1].0),
            }
        };
        assert_eq!(order().await, [0, 1, 2]);
        drop(turn().await);
        assert_eq!(order().await, [1, 2, 0]);
        let slow = turn().await;
        drop(turn().await);
        turn().await.succeed();
        assert_eq!(order().await, [2, 0, 1]);
        drop(slow);
        assert_eq!(order().await, [2, 0, 1]);
    }

    #[test]
    fn all_shares_leave_one_for_the_transaction() {
        let hosts = Hosts::new(TIMEOUT);
        assert_eq!(hosts.share(1), TIMEOUT);
        assert_eq!(hosts.share(2), TIMEOUT / 3);
    }
}
