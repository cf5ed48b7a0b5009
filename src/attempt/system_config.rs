//! What the system says about names: which name servers to ask, and what its hosts file has.

use std::{
    collections::HashMap,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use hickory_resolver::{
    config::{NameServerConfig, ResolverOpts},
    system_conf::read_system_conf,
};
use tokio::time::Instant;

/// How often it is looked at, at most, and only when a name is looked up.
const LOOK: Duration = Duration::from_secs(1);
/// The same where it is more than the look at a file's times.
const LOOK_AT_SYSTEM: Duration = Duration::from_secs(10);

/// As many as the C library asks.
const MAX_NAME_SERVERS: usize = 3;

/// A file that was written so recently may be written again without a change of its times.
const SETTLED: Duration = Duration::from_secs(2);

/// Read again when it changes. What cannot be read leaves everything as it was.
pub(super) struct SystemConfig {
    hosts_file: WatchedFile,
    source: Source,
    hosts: HashMap<String, Vec<IpAddr>>,
    name_servers: Arc<NameServers>,
    hosts_looked_at: Option<Instant>,
    name_servers_looked_at: Option<Instant>,
}

/// The name servers to ask, and how.
#[derive(Default)]
pub(super) struct NameServers {
    pub(super) servers: Vec<NameServerConfig>,
    /// The scopes of those that have a link-local address.
    pub(super) scopes: Arc<[(Ipv6Addr, u32)]>,
    pub(super) edns0: bool,
}

/// Where the name servers are from.
enum Source {
    /// A `resolv.conf`.
    File(WatchedFile),
    /// Whatever the system has instead.
    System,
}

struct WatchedFile {
    path: PathBuf,
    seen: Option<Stamp>,
}

/// A file that has the same was not changed.
#[derive(PartialEq)]
struct Stamp {
    modified: SystemTime,
    length: u64,
    /// Another file may have taken its place.
    #[cfg(unix)]
    identity: [i64; 4],
}

impl Default for SystemConfig {
    fn default() -> Self {
        let has_no_file = cfg!(any(windows, target_vendor = "apple", target_os = "android"));
        Self::new(
            hosts_path(),
            match has_no_file {
                true => Source::System,
                false => Source::File(WatchedFile::at("/etc/resolv.conf".into())),
            },
        )
    }
}

#[cfg(not(windows))]
fn hosts_path() -> PathBuf {
    "/etc/hosts".into()
}

#[cfg(windows)]
fn hosts_path() -> PathBuf {
    let root = std::env::var_os("SystemRoot").unwrap_or_else(|| r"C:\Windows".into());
    PathBuf::from(root).join(r"System32\drivers\etc\hosts")
}

impl SystemConfig {
    fn new(hosts: PathBuf, source: Source) -> Self {
        let name_servers = match source {
            Source::File(_) => read_resolv_conf(""),
            Source::System => NameServers::default(),
        };
        Self {
            hosts_file: WatchedFile::at(hosts),
            source,
            hosts: HashMap::new(),
            name_servers: Arc::new(name_servers),
            hosts_looked_at: None,
            name_servers_looked_at: None,
        }
    }

    #[cfg(test)]
    pub(super) fn of_files(resolv_conf: PathBuf, hosts: PathBuf) -> Self {
        Self::new(hosts, Source::File(WatchedFile::at(resolv_conf)))
    }

    #[cfg(test)]
    pub(super) fn asking(servers: Vec<NameServerConfig>) -> Self {
        let mut config = Self::of_files("/nowhere".into(), "/nowhere".into());
        config.name_servers = Arc::new(NameServers {
            servers,
            ..NameServers::default()
        });
        config
    }

    /// The addresses that the hosts file has for this name.
    pub(super) fn addresses(&mut self, name: &str) -> Option<Vec<IpAddr>> {
        if is_due(&mut self.hosts_looked_at, LOOK)
            && let Some(text) = self.hosts_file.changed()
        {
            self.hosts = read_hosts(&text);
        }
        self.hosts.get(name).cloned()
    }

    /// The name servers; the same ones as long as nothing changes.
    ///
    /// # Errors
    ///
    /// When the system has none, or does not tell.
    pub(super) fn name_servers(&mut self) -> io::Result<Arc<NameServers>> {
        let found = match &mut self.source {
            Source::File(file) if is_due(&mut self.name_servers_looked_at, LOOK) => {
                file.changed().map(|text| read_resolv_conf(&text))
            }
            Source::System if is_due(&mut self.name_servers_looked_at, LOOK_AT_SYSTEM) => {
                of_system()
            }
            Source::File(_) | Source::System => None,
        };
        if let Some(found) = found
            && !found.is_same(&self.name_servers)
        {
            self.name_servers = Arc::new(found);
        }
        match self.name_servers.servers.is_empty() {
            true => Err(io::Error::other("no name server is known")),
            false => Ok(Arc::clone(&self.name_servers)),
        }
    }
}

impl NameServers {
    /// All of them have the usual ports.
    fn is_same(&self, other: &Self) -> bool {
        let key = |server: &NameServerConfig| (server.ip, server.connections.len());
        let (servers, others) = (self.servers.iter(), other.servers.iter());
        servers.map(key).eq(others.map(key))
            && self.scopes == other.scopes
            && self.edns0 == other.edns0
    }
}

fn is_due(looked_at: &mut Option<Instant>, every: Duration) -> bool {
    let now = Instant::now();
    let is_due = looked_at.is_none_or(|at| now >= at + every);
    if is_due {
        *looked_at = Some(now);
    }
    is_due
}

fn of_system() -> Option<NameServers> {
    let (config, ResolverOpts { edns0, .. }) = read_system_conf().ok()?;
    Some(NameServers {
        servers: config.name_servers().to_vec(),
        scopes: Arc::default(),
        edns0,
    })
}

/// `address name name … # comment`. A line that is anything else is skipped.
fn read_hosts(text: &str) -> HashMap<String, Vec<IpAddr>> {
    let mut hosts: HashMap<String, Vec<IpAddr>> = HashMap::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or(line).split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse) else {
            continue;
        };
        for name in words {
            let name = name.strip_suffix('.').unwrap_or(name);
            let addresses = hosts.entry(name.to_ascii_lowercase()).or_default();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    hosts
}

/// As the C library reads it, as far as it is about absolute names: without any name server, this
/// host is one. A line that is anything else is skipped.
fn read_resolv_conf(text: &str) -> NameServers {
    let mut servers: Vec<IpAddr> = Vec::new();
    let mut scopes = Vec::new();
    let (mut edns0, mut only_tcp) = (false, false);
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => {
                let Some((address, scope)) = words.next().and_then(read_address) else {
                    continue;
                };
                if servers.len() < MAX_NAME_SERVERS && !servers.contains(&address) {
                    servers.push(address);
                    scopes.extend(scope);
                }
            }
            Some("options") => words.for_each(|option| match option {
                "edns0" => edns0 = true,
                "use-vc" => only_tcp = true,
                _ => {}
            }),
            _ => {}
        }
    }
    if servers.is_empty() {
        servers.push(Ipv4Addr::LOCALHOST.into());
    }
    let config = match only_tcp {
        true => NameServerConfig::tcp,
        false => NameServerConfig::udp_and_tcp,
    };
    NameServers {
        servers: servers.into_iter().map(config).collect(),
        scopes: scopes.into(),
        edns0,
    }
}

/// An address, and its scope where it has one: `fe80::1%eth0`.
fn read_address(text: &str) -> Option<(IpAddr, Option<(Ipv6Addr, u32)>)> {
    let Some((address, interface)) = text.split_once('%') else {
        return Some((text.parse().ok()?, None));
    };
    let address: Ipv6Addr = address.parse().ok()?;
    let scope = interface.parse().ok().or_else(|| index_of(interface))?;
    Some((address.into(), Some((address, scope))))
}

fn index_of(interface: &str) -> Option<u32> {
    let is_name = !interface.contains(['/', '.']);
    let path = is_name.then(|| format!("/sys/class/net/{interface}/ifindex"))?;
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

impl WatchedFile {
    fn at(path: PathBuf) -> Self {
        Self { path, seen: None }
    }

    /// What is in the file now, where it may be something else than the last time. An empty file is
    /// one that is being written.
    fn changed(&mut self) -> Option<String> {
        let stamp = Stamp::of(&self.path)?;
        if self.seen.as_ref() == Some(&stamp) {
            return None;
        }
        let text = fs::read(&self.path).ok()?;
        let age = SystemTime::now().duration_since(stamp.modified);
        self.seen = age.is_ok_and(|age| age > SETTLED).then_some(stamp);
        let text = String::from_utf8_lossy(&text);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        (!text.trim().is_empty()).then(|| text.to_owned())
    }
}

impl Stamp {
    fn of(path: &std::path::Path) -> Option<Self> {
        let file = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        Some(Self {
            modified: file.modified().ok()?,
            length: file.len(),
            #[cfg(unix)]
            identity: {
                use std::os::unix::fs::MetadataExt;
                let (device, inode) = (file.dev().cast_signed(), file.ino().cast_signed());
                [device, inode, file.ctime(), file.ctime_nsec()]
            },
        })
    }
}

#[cfg(test)]
mod tests;
