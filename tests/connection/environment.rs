//! What the process's environment cannot change.

use tokio::process::Command;

use crate::{
    TAKEN, TAKES,
    hostile::{Api, Receiver},
};

#[tokio::test]
async fn proxies_are_not_used() {
    let trap = Receiver::answering(TAKES);
    let proxy = format!("http://{}", trap.address);
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "environment::delivers", "--ignored"]);
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        child.env(name, &proxy).env(name.to_uppercase(), &proxy);
    }
    child.env_remove("no_proxy").env_remove("NO_PROXY");
    let output = child.output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    assert!(trap.saw_nobody().await);
}

#[tokio::test]
#[ignore = "the test beside it runs it, in an environment with proxies"]
async fn delivers() {
    let receiver = Receiver::answering(TAKES);
    let mut api = Api::new();
    assert_eq!(api.attempt(&receiver.url()).await.outcome, TAKEN);
    assert_eq!(receiver.accepted(), 1);
}
