//! Debian's Chromium, driven through its own debugging socket.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

#[path = "../../../../tests/support/chromium.rs"]
mod chromium;

use chromium::{Chromium, STARTING};

const WAITING: Duration = Duration::from_secs(30);

pub(crate) struct Browser {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: String,
    number: u64,
    /// What the page has complained of: exceptions, the console, the policy.
    pub(crate) complaints: Vec<String>,
    _chromium: Chromium,
}

impl Browser {
    pub(crate) async fn open() -> Option<Self> {
        let chromium = Chromium::open("about:blank")?;
        let port_file = chromium.profile().join("DevToolsActivePort");
        let address = timeout(STARTING, async {
            loop {
                let text = std::fs::read_to_string(&port_file).unwrap_or_default();
                if let Some((port, path)) =
                    text.split_once('\n').filter(|(_, path)| !path.is_empty())
                {
                    return format!("ws://127.0.0.1:{port}{}", path.trim());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let (socket, _) = connect_async(address.await.unwrap()).await.unwrap();
        let mut browser = Self {
            socket,
            session: String::new(),
            number: 0,
            complaints: Vec::new(),
            _chromium: chromium,
        };
        let target = browser
            .ask("Target.createTarget", json!({ "url": "about:blank" }))
            .await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.ask("Target.attachToTarget", attach).await;
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.ask(domain, json!({})).await;
        }
        Some(browser)
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let message = Message::text(message.to_string());
        self.socket.send(message).await.unwrap();
        loop {
            let message = timeout(WAITING, self.socket.next())
                .await
                .unwrap()
                .unwrap()
                .unwrap();
            let Ok(Ok(told)) = message.to_text().map(serde_json::from_str::<Value>) else {
                continue;
            };
            if told["id"] == self.number {
                assert!(told.get("error").is_none(), "{method}: {told}");
                return told["result"].clone();
            }
            let complains = [
                "Runtime.exceptionThrown",
                "Runtime.consoleAPICalled",
                "Log.entryAdded",
            ];
            if complains.iter().any(|method| told["method"] == *method) {
                self.complaints.push(told.to_string());
            }
        }
    }

    pub(crate) async fn go(&mut self, url: &str) {
        self.ask("Page.navigate", json!({ "url": url })).await;
    }

    pub(crate) async fn prefer(&mut self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.ask(
            "Emulation.setEmulatedMedia",
            json!({ "features": [feature] }),
        )
        .await;
    }

    pub(crate) async fn resize(&mut self, width: u32) {
        let size =
            json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.ask("Emulation.setDeviceMetricsOverride", size).await;
    }

    pub(crate) async fn eval(&mut self, script: &str) -> Value {
        let params = json!({ "expression": script, "returnByValue": true, "awaitPromise": true });
        let answer = self.ask("Runtime.evaluate", params).await;
        answer["result"]["value"].clone()
    }

    /// Until it is true.
    pub(crate) async fn wait_for(&mut self, script: &str) {
        let began = std::time::Instant::now();
        while self.eval(&format!("Boolean({script})")).await != true {
            if began.elapsed() > WAITING {
                let page = self.eval("document.body?.innerText").await;
                panic!("{script}: never\n{page}\n{:#?}", self.complaints);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// As a finger would.
    pub(crate) async fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, Some("\r")),
            "Escape" => (27, None),
            "Tab" => (9, None),
            " " => (32, Some(" ")),
            key => (u32::from(key.to_ascii_uppercase().as_bytes()[0]), Some(key)),
        };
        let mut event = json!({ "type": "keyDown", "key": key, "windowsVirtualKeyCode": code });
        if let Some(text) = text {
            event["text"] = json!(text);
        }
        self.ask("Input.dispatchKeyEvent", event.clone()).await;
        event["type"] = json!("keyUp");
        if let Some(event) = event.as_object_mut() {
            event.remove("text");
        }
        self.ask("Input.dispatchKeyEvent", event).await;
    }

    /// From control to control, until this is true.
    pub(crate) async fn tab_to(&mut self, script: &str) {
        for _ in 0..100 {
            if self.eval(script).await == true {
                return;
            }
            self.press("Tab").await;
        }
        panic!("{script}: the keyboard does not come there");
    }

    pub(crate) async fn write(&mut self, text: &str) {
        self.ask("Input.insertText", json!({ "text": text })).await;
    }
}
