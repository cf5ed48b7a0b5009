//! `tower-webhook deliveries`, on a terminal.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    process::{Child, Command, ExitStatus},
    thread,
};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio::sync::mpsc;

use crate::{
    BINARY,
    deliveries::{Scene, requests},
    process::within,
    scene::until_in_file,
};

/// A program that runs on a terminal of its own, and what that shows.
struct Terminal {
    child: Child,
    keys: File,
    read: mpsc::UnboundedReceiver<Vec<u8>>,
    shown: Vec<u8>,
}

impl Terminal {
    fn start(scene: &Scene, args: &[&str]) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let open = || {
            let name = name.to_str().unwrap();
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(name)
                .unwrap()
        };
        let child = Command::new(BINARY)
            .arg("deliveries")
            .args(args)
            .args(["--outbox", &scene.outbox])
            .env_remove("RUST_LOG")
            .stdin(open())
            .stdout(open())
            .stderr(open())
            .spawn()
            .unwrap();
        let mut screen = File::from(controller);
        let keys = screen.try_clone().unwrap();
        let (show, read) = mpsc::unbounded_channel();
        thread::spawn(move || {
            let mut bytes = [0; 4_096];
            // It fails once the program has ended.
            while let Ok(len @ 1..) = screen.read(&mut bytes) {
                let _ = show.send(bytes[..len].to_vec());
            }
        });
        Self {
            child,
            keys,
            read,
            shown: Vec::new(),
        }
    }

    /// Until this is shown.
    async fn until(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.shown).contains(text) {
            let more = within(self.read.recv()).await;
            let Some(more) = more else {
                panic!("{text} is not in {}", String::from_utf8_lossy(&self.shown))
            };
            self.shown.extend(more);
        }
    }

    fn write(&mut self, text: &str) {
        self.keys.write_all(text.as_bytes()).unwrap();
    }

    /// All that was shown, once it has ended.
    async fn end(mut self) -> (Vec<u8>, ExitStatus) {
        while let Some(more) = within(self.read.recv()).await {
            self.shown.extend(more);
        }
        (std::mem::take(&mut self.shown), self.child.wait().unwrap())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Three of them, dead, and what is in the file is somebody else's.
async fn dead(edit: &str) -> Scene {
    let scene = Scene::new(500).await;
    let proxy = scene.proxy(&[]).await;
    for id in ["a", "b", "c"] {
        proxy.call(id, &scene.receiver.url()).await;
    }
    until_in_file(|| scene.folder.count("state = 'dead'") == 3).await;
    proxy.end().await;
    scene.folder.sql(edit);
    scene
}

#[tokio::test]
async fn no_byte_of_others_controls_the_terminal() {
    // A title, a screen that is cleared, and control characters of one byte and of two.
    let scene = dead(
        "UPDATE payload SET body = x'1b5d303b6d696e65070d0a41097f9bc29b7ac3a9';
         UPDATE delivery SET host = char(27) || '[2J' || char(127, 155) || 'host'",
    )
    .await;
    let id = scene.folder.text("SELECT id FROM delivery LIMIT 1");
    for (args, shown) in [
        (
            &["show", &id, "--payload"][..],
            "\\u{1b}]0;mine\\u{7}\\r\r\nA\t\\u{7f}\\x9b\\u{9b}zé",
        ),
        (&["show", &id], "\\u{1b}[2J\\u{7f}\\u{9b}host"),
        (&["show", &id, "--json"], "\\u001b[2J\\u007f\\u009bhost"),
        (&["list"], "\\u{1b}[2J\\u{7f}\\u{9b}host"),
        (&["list", "--json"], "\\u001b[2J\\u007f\\u009bhost"),
    ] {
        let (bytes, status) = Terminal::start(&scene, args).end().await;
        let text = String::from_utf8(bytes).expect("it is text");
        assert!(status.success() && text.contains(shown), "{text:?}");
        let is_odd = |c: char| c.is_control() && !matches!(c, '\r' | '\n' | '\t');
        assert!(!text.contains(is_odd), "{text:?}");
    }
}

#[tokio::test]
async fn what_comes_after_the_question_is_not_met() {
    let scene = Scene::new(200).await;
    let proxy = scene.proxy(&["--no-deliver"]).await;
    for id in ["a", "b"] {
        proxy.call(id, &scene.receiver.url()).await;
    }
    let mut asking = Terminal::start(&scene, &["cancel"]);
    asking.until("2 deliveries").await;
    asking.until("Give them up?").await;
    proxy.call("late", &scene.receiver.url()).await;
    asking.write("y\n");
    let (bytes, status) = asking.end().await;
    let text = String::from_utf8_lossy(&bytes);
    assert!(
        status.success() && text.contains("2 are given up"),
        "{text}"
    );
    let waiting = scene.list(&["--state", "waiting"]).await;
    assert_eq!(requests(&waiting), ["late"]);
    proxy.end().await;
}
