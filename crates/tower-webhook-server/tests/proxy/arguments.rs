use std::{fs::Permissions, os::unix::fs::PermissionsExt};

use tokio::net::TcpListener;

use crate::{BINARY, process::Process};

async fn complaint(args: &[&str]) -> String {
    let mut proxy = crate::proxy(args, &[]);
    let text = proxy.stderr.rest().await;
    assert!(!proxy.exit().await.success(), "{args:?}");
    assert!(text.starts_with("error: "), "{text}");
    text
}

#[tokio::test]
async fn bad_arguments_are_named() {
    for (name, value, says) in [
        ("--listen", "8080", "invalid socket address"),
        ("--upstream", "127.0.0.1:9000", "must begin with http://"),
        ("--upstream", "ftp://service", "must begin with http://"),
        ("--upstream", "service", "must begin with http://"),
        ("--header", "x-region", "must have a colon"),
        ("--header", "x region: eu", "the name before the colon"),
        ("--brand", "Ac me", "invalid value"),
        ("--endpoint-header", "x callback", "invalid"),
        ("--permit-host", "10.0.0.1", "invalid value"),
        ("--permit-network", "10.0.0.1/8", "invalid value"),
        ("--deny-host", "exa mple", "invalid value"),
        ("--nat64-prefix", "10.0.0.0/8", "invalid value"),
        ("--max-outstanding", "0", "at least 1"),
        ("--max-wait", "soon", "expected number"),
        ("--retry-delays", "5s,10", "time unit needed"),
        ("--status-path", "/", "more than a slash"),
        (
            "--upstream",
            "http://service/path",
            "must end after the host",
        ),
        ("--upstream", "http://me@service", "no user name"),
        ("--upstream", "http://", "invalid value"),
        ("--upstream-timeout", "0s", "longer"),
        ("--upstream-timeout", "5", "time unit needed"),
        ("--max-run", "0s", "longer"),
        ("--retry", "never", "must be cerebrium, patient or"),
        ("--half-close-timeout", "soon", "expected number"),
        ("--attempt-timeout", "0s", "longer"),
        ("--attempt-timeout", "15", "time unit needed"),
        ("--drain", "soon", "expected number"),
        ("--body-limit", "4TiB", "KiB, MiB or GiB"),
        ("--body-limit", "MiB", "begin with a number"),
        ("--body-limit", "2GiB", "1GiB at most"),
        ("--body-limit", "99999999999999999999GiB", "number"),
        (
            "--outbox",
            "disk",
            "must be `memory`, `sqlite:PATH`, `postgres",
        ),
        (
            "--forward",
            "postgres:name",
            "must be `memory`, `sqlite:PATH`, `postgres",
        ),
        ("--outbox", "sqlite:", "a path is missing"),
    ] {
        let mut args = vec!["--listen", "127.0.0.1:0", name, value];
        if name != "--upstream" {
            args.extend(["--upstream", "http://service"]);
        }
        if name == "--listen" {
            args.drain(..2);
        }
        let text = complaint(&args).await;
        let last = match name {
            // It may have a password in it.
            "--outbox" | "--forward" | "--header" | "--upstream" => "'…'",
            _ => value.rsplit(',').next().unwrap(),
        };
        let names = text.contains(name) && text.contains(last);
        assert!(names && text.contains(says), "{text}");
    }
}

/// Complaints go into logs.
#[tokio::test]
async fn no_complaint_repeats_a_password() {
    const URL: &str = "postgress://me:hush@db.internal/webhooks";
    for args in [
        &["--outbox", URL][..],
        &["--outbox=postgres:/me:hush@db.internal/webhooks"],
        &["--outbox", "memory", "--forward", URL],
        &["--outbx", URL],
        &["--outbx=postgress://me:hush@db.internal/webhooks"],
        &[URL],
        &["--listen", URL],
        &["--admin", URL],
        &["--header", "authorization=Bearer hush"],
        &["--header", "author ization: Bearer hush"],
        &["--upstream", "http://me:hush@service"],
        &[
            "--upstream",
            "http://service",
            "--header",
            "X-Api-Key:",
            "hush",
        ],
    ] {
        let text = complaint(args).await;
        assert!(!text.contains("hush"), "{text}");
    }
    let mut process = Process::start(BINARY, &[URL], &[]);
    let text = process.stderr.rest().await;
    assert!(text.contains("unrecognized subcommand '…'"), "{text}");
    let environment = [("TOWER_WEBHOOK_OUTBOX", URL)];
    let mut process = Process::start(BINARY, &["worker"], &environment);
    let text = process.stderr.rest().await;
    assert!(text.contains("invalid value '…'"), "{text}");
}

#[tokio::test]
async fn the_service_must_be_named() {
    assert!(complaint(&[]).await.contains("--upstream <URL>"));
}

#[tokio::test]
async fn a_key_file_goes_with_a_file() {
    let args = ["--upstream", "http://service", "--listen", "127.0.0.1:0"];
    let text = complaint(&[&args[..], &["--outbox-key-file", "a"]].concat()).await;
    assert!(text.contains("goes with --outbox sqlite:PATH"), "{text}");
}

#[tokio::test]
async fn a_path_of_keys_goes_with_a_key() {
    let args = ["--upstream", "http://service", "--listen", "127.0.0.1:0"];
    let text = complaint(&[&args[..], &["--keys-path", "/keys"]].concat()).await;
    assert!(text.contains("--signing-key-file <FILE>"), "{text}");
    let with_key = ["--signing-key-file", "a", "--keys-path", "keys"];
    let text = complaint(&[&args[..], &with_key].concat()).await;
    assert!(text.contains("must be a path"), "{text}");
}

#[tokio::test]
async fn a_signing_key_that_cannot_be_had_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let [none, spoilt] = ["none/key", "spoilt"].map(|name| folder.path().join(name));
    std::fs::write(&spoilt, "hush").unwrap();
    // Otherwise it is warned of first.
    std::fs::set_permissions(&spoilt, Permissions::from_mode(0o600)).unwrap();
    let args = ["--upstream", "http://service", "--listen", "127.0.0.1:0"];
    for (path, says) in [
        (none, "cannot be read or created"),
        (spoilt, "must be `whsk_`"),
    ] {
        let path = path.to_str().unwrap();
        let text = complaint(&[&args[..], &["--signing-key-file", path]].concat()).await;
        let names = text.starts_with(&format!("error: --signing-key-file {path}: "));
        assert!(
            names && text.contains(says) && !text.contains("hush"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let text = complaint(&["--upstream", "http://service", "--listen", &address]).await;
    assert!(
        text.contains(&format!("cannot listen on {address}")),
        "{text}"
    );
}

#[tokio::test]
async fn a_header_that_webhooks_have_of_themselves_is_named() {
    let args = ["--upstream", "http://service", "--listen", "127.0.0.1:0"];
    let text = complaint(&[&args[..], &["--header", "Webhook-Id: 7"]].concat()).await;
    assert!(text.starts_with("error: --header webhook-id: "), "{text}");
}

#[tokio::test]
async fn authorities_go_with_tls_and_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let [none, spoilt] = ["none", "spoilt"].map(|name| folder.path().join(name));
    std::fs::write(&spoilt, "hush").unwrap();
    for (upstream, file, says) in [
        (
            "http://service",
            &spoilt,
            "goes with an --upstream of https",
        ),
        ("https://service", &spoilt, "has no certificate"),
        ("https://service", &none, "No such file"),
    ] {
        let args = [
            "--upstream",
            upstream,
            "--listen",
            "127.0.0.1:0",
            "--upstream-ca-file",
        ];
        let text = complaint(&[&args[..], &[file.to_str().unwrap()]].concat()).await;
        assert!(
            text.starts_with("error: --upstream-ca-file ") && text.contains(says),
            "{text}"
        );
    }
}

#[tokio::test]
async fn the_help_names_options_and_the_environment() {
    let mut proxy = crate::proxy(&["--help"], &[("TOWER_WEBHOOK_HEADER", "x-a: hush")]);
    let text = proxy.stdout.rest().await;
    assert!(proxy.exit().await.success());
    for part in [
        "--upstream <URL>",
        "--permit-host <NAME>",
        "TOWER_WEBHOOK_MAX_RUN",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains("hush"), "{text}");
}
