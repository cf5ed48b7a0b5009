use std::{fs::File, time::Duration};

use tempfile::TempDir;
use tokio::time::advance;

use super::*;

struct Files {
    folder: TempDir,
    config: SystemConfig,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [resolv_conf, hosts] = ["resolv.conf", "hosts"].map(|name| folder.path().join(name));
        Self {
            config: SystemConfig::of_files(resolv_conf, hosts),
            folder,
        }
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn servers(&mut self) -> Vec<String> {
        let servers = self.config.name_servers().unwrap();
        let servers = servers.servers.iter();
        servers.map(|server| server.ip.to_string()).collect()
    }

    fn addresses(&mut self, name: &str) -> Vec<String> {
        let addresses = self.config.addresses(name).unwrap_or_default();
        addresses.iter().map(IpAddr::to_string).collect()
    }
}

async fn a_second_later() {
    advance(LOOK).await;
}

#[tokio::test(start_paused = true)]
async fn a_name_server_that_moves_is_followed() {
    let mut files = Files::new();
    files.write("resolv.conf", "nameserver 10.0.0.1\n");
    assert_eq!(files.servers(), ["10.0.0.1"]);
    let before = files.config.name_servers().unwrap();

    a_second_later().await;
    let same = files.config.name_servers().unwrap();
    assert!(Arc::ptr_eq(&before, &same), "nothing has changed");

    // As long as before, and maybe within the same tick of the clock.
    files.write("resolv.conf", "nameserver 10.0.0.2\n");
    assert_eq!(files.servers(), ["10.0.0.1"], "looked at once a second");
    a_second_later().await;
    assert_eq!(files.servers(), ["10.0.0.2"]);

    // Another file takes its place.
    files.write("new", "nameserver 10.0.0.3\n");
    let [new, old] = ["new", "resolv.conf"].map(|name| files.folder.path().join(name));
    fs::rename(new, old).unwrap();
    a_second_later().await;
    assert_eq!(files.servers(), ["10.0.0.3"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_leaves_what_was_there() {
    let mut files = Files::new();
    files.write("resolv.conf", "nameserver 10.0.0.1\n");
    files.write("hosts", "10.0.0.9 receiver.example.com\n");
    let is_unchanged = |files: &mut Files| {
        assert_eq!(files.servers(), ["10.0.0.1"]);
        assert_eq!(files.addresses("receiver.example.com"), ["10.0.0.9"]);
    };
    is_unchanged(&mut files);

    for name in ["resolv.conf", "hosts"] {
        files.write(name, "");
    }
    a_second_later().await;
    is_unchanged(&mut files);

    for name in ["resolv.conf", "hosts"] {
        fs::remove_file(files.folder.path().join(name)).unwrap();
    }
    a_second_later().await;
    is_unchanged(&mut files);

    for name in ["resolv.conf", "hosts"] {
        fs::create_dir(files.folder.path().join(name)).unwrap();
    }
    a_second_later().await;
    is_unchanged(&mut files);
}

#[tokio::test(start_paused = true)]
async fn a_hosts_file_is_read_again_when_it_changes() {
    let mut files = Files::new();
    assert!(files.addresses("receiver.example.com").is_empty());
    files.write("hosts", "10.0.0.9 receiver.example.com\n");
    a_second_later().await;
    assert_eq!(files.addresses("receiver.example.com"), ["10.0.0.9"]);
    files.write("hosts", "10.0.0.8 other.example.com\n");
    a_second_later().await;
    assert!(files.addresses("receiver.example.com").is_empty());
    assert_eq!(files.addresses("other.example.com"), ["10.0.0.8"]);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_has_not_changed_is_not_read_again() {
    let mut files = Files::new();
    files.write("hosts", "10.0.0.9 receiver.example.com\n");
    let old = SystemTime::now() - Duration::from_secs(60);
    let path = files.folder.path().join("hosts");
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(old).unwrap();
    assert!(files.config.hosts_file.changed().is_some());
    assert!(files.config.hosts_file.changed().is_none());
}

#[test]
fn an_odd_line_of_hosts_loses_nothing_but_itself() {
    let hosts = read_hosts(
        "# a comment\n\
         \n\
         10.0.0.1\tOne.Example.COM  my_app.example.com. # the rest\n\
         10.0.0.256 odd.example.com\n\
         fe80::1%lo0 localhost\n\
         \u{fffd}\u{0}\u{1b}\n\
         10.0.0.2\n\
         :: -a_.-. *.example.com \u{fffd}\n\
           2001:db8::1 one.example.com\r\n\
         10.0.0.1 one.example.com\n\
         ipv4 10.0.0.3 three.example.com\n\
         10.0.0.4 four.example.com",
    );
    let addresses = |name: &str| {
        let addresses = hosts.get(name).into_iter().flatten();
        addresses.map(IpAddr::to_string).collect::<Vec<_>>()
    };
    assert_eq!(addresses("one.example.com"), ["10.0.0.1", "2001:db8::1"]);
    assert_eq!(addresses("my_app.example.com"), ["10.0.0.1"]);
    assert_eq!(addresses("four.example.com"), ["10.0.0.4"]);
    for name in ["odd.example.com", "localhost", "three.example.com", "", "#"] {
        assert!(addresses(name).is_empty(), "{name}");
    }
}

#[test]
fn an_odd_line_of_resolv_conf_loses_nothing_but_itself() {
    let read = read_resolv_conf(
        "# nameserver 10.0.0.8\n\
         ;nameserver 10.0.0.9\n\
         \u{fffd}\u{0}\n\
         nameserver\n\
         nameserver 10.0.0.256\n\
         nameserver ns.example.com\n\
         nameserver fe80::1%no-such-interface\n\
         search -- _odd..example. \u{fffd}\n\
         domain ..\n\
         sortlist nonsense/99\n\
         options timeout:x ndots:-1 edns0 unheard-of:\n\
         nameserver 10.0.0.1 # the first\n\
           nameserver\t2001:db8::1\r\n\
         nameserver 10.0.0.1\n\
         nameserver fe80::1%7\n\
         nameserver 10.0.0.4",
    );
    let servers: Vec<_> = read.servers.iter().map(|server| server.ip).collect();
    let expected = ["10.0.0.1", "2001:db8::1", "fe80::1"].map(|ip| ip.parse::<IpAddr>().unwrap());
    assert_eq!(servers, expected);
    assert_eq!(*read.scopes, [("fe80::1".parse().unwrap(), 7)]);
    assert!(read.edns0);
}

#[test]
fn without_a_name_server_this_host_is_one() {
    for text in ["", "search example.com", "nameserver nowhere"] {
        let servers = read_resolv_conf(text).servers;
        assert_eq!(servers.len(), 1, "{text}");
        assert_eq!(servers[0].ip, Ipv4Addr::LOCALHOST, "{text}");
    }
}

#[test]
fn tcp_alone_is_used_where_it_is_asked_for() {
    let connections = |text: &str| read_resolv_conf(text).servers[0].connections.len();
    assert_eq!(connections("nameserver 10.0.0.1"), 2);
    assert_eq!(connections("options use-vc\nnameserver 10.0.0.1"), 1);
}
