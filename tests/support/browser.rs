//! Debian's Chromium, driven by Debian's chromedriver.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    fs::File,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use thirtyfour::{
    ChromiumLikeCapabilities, DesiredCapabilities, Key, LoggingPrefsLogLevel, WebDriver,
};
use tokio::time::{sleep, timeout};

#[path = "chromium.rs"]
mod chromium;

#[allow(unused_imports, reason = "each test binary uses a part of it")]
pub(crate) use chromium::is_required;
use chromium::{ARGS, CHROMIUM, Chromium, STARTING, profile, program};

const WAITING: Duration = Duration::from_secs(30);

pub(crate) struct Browser {
    driver: WebDriver,
    _processes: Chromium,
}

impl Browser {
    /// `None` where there is none.
    pub(crate) async fn open() -> Option<Self> {
        let (chromium, chromedriver) = (program(CHROMIUM)?, program(&["chromedriver"])?);
        let folder = tempfile::tempdir().unwrap();
        let printed = folder.path().join("printed");
        let mut command = Command::new(chromedriver);
        command
            .arg("--port=0")
            .stdout(File::create(&printed).unwrap());
        let processes = Chromium::start(command, folder);
        let port = timeout(STARTING, port(&printed));
        let port = port.await.expect("chromedriver starts");

        let mut wanted = DesiredCapabilities::chrome();
        wanted.set_binary(chromium.to_str().unwrap()).unwrap();
        for arg in ARGS {
            wanted.add_arg(arg).unwrap();
        }
        wanted.add_arg(&profile(processes.folder())).unwrap();
        wanted
            .set_browser_log_level(LoggingPrefsLogLevel::All)
            .unwrap();
        // Nothing of it goes through a proxy.
        let client = reqwest::Client::builder().no_proxy().timeout(STARTING);
        let driver = WebDriver::builder(format!("http://127.0.0.1:{port}"), wanted)
            .client(client.build().unwrap())
            .connect();
        let driver = driver.await.expect("chromium starts");
        // Its processes are ended as they are: that needs nobody who answers.
        driver.clone().leak().unwrap();
        Some(Self {
            driver,
            _processes: processes,
        })
    }

    /// Asks what WebDriver has no word for.
    async fn ask(&self, method: &str, params: Value) -> Value {
        self.driver.cdp().send_raw(method, params).await.unwrap()
    }

    pub(crate) async fn go(&self, url: &str) {
        self.driver.goto(url).await.unwrap();
    }

    /// Light or dark, and without movement: what is looked at stands still.
    pub(crate) async fn prefer(&self, scheme: &str) {
        let features = [
            json!({ "name": "prefers-color-scheme", "value": scheme }),
            json!({ "name": "prefers-reduced-motion", "value": "reduce" }),
        ];
        let features = json!({ "features": features });
        self.ask("Emulation.setEmulatedMedia", features).await;
    }

    pub(crate) async fn resize(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.ask("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// The value of an expression, or of what it promises.
    pub(crate) async fn eval(&self, script: &str) -> Value {
        let script = format!("return (\n{script}\n);");
        let value = self.driver.execute(script, Vec::new()).await;
        value.unwrap().json().clone()
    }

    /// A whole script, of which nothing comes back.
    pub(crate) async fn run(&self, script: &str) {
        self.driver.execute(script, Vec::new()).await.unwrap();
    }

    /// Until it is true.
    pub(crate) async fn wait_for(&self, script: &str) {
        let began = Instant::now();
        while self.eval(&format!("Boolean({script})")).await != true {
            if began.elapsed() > WAITING {
                let page = self.eval("document.body?.innerText").await;
                let complaints = self.complaints().await;
                panic!("{script}: never\n{page}\n{complaints:#?}");
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the page has complained of so far: exceptions, the console, the policy, what it could not load.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.driver.browser_log().await.unwrap();
        log.into_iter()
            .map(|entry| format!("{} {}", entry.level, entry.message))
            .collect()
    }

    pub(crate) async fn assert_no_complaints(&self) {
        assert_eq!(self.complaints().await, Vec::<String>::new());
    }

    /// No script and no handler runs that was put into the page, and the policy says so.
    pub(crate) async fn assert_policy_holds(&self) {
        self.assert_no_complaints().await;
        let injected = "(() => {
            const script = document.createElement('script');
            script.textContent = 'window.ran = true';
            document.body.append(script);
            const button = document.createElement('button');
            button.setAttribute('onclick', 'window.ran = true');
            document.body.append(button);
            button.click();
            return window.ran === true;
        })()";
        assert_eq!(self.eval(injected).await, false);
        let complaints = self.complaints().await;
        assert_eq!(complaints.len(), 2, "{complaints:#?}");
        let is_policy = |complaint: &String| complaint.contains("Content Security Policy");
        assert!(complaints.iter().all(is_policy), "{complaints:#?}");
    }

    /// Nothing has to be scrolled sideways.
    pub(crate) async fn assert_fits(&self, what: &str) {
        let too_wide = self
            .eval("document.documentElement.scrollWidth - innerWidth")
            .await;
        assert!(too_wide.as_i64().unwrap() <= 0, "{what}: {too_wide}");
    }

    pub(crate) async fn hide_scrollbars(&self) {
        let hidden = json!({ "hidden": true });
        self.ask("Emulation.setScrollbarsHidden", hidden).await;
    }

    pub(crate) async fn screenshot(&self, path: &Path) {
        self.driver.screenshot(path).await.unwrap();
    }

    /// As a finger would.
    pub(crate) async fn press(&self, key: &str) {
        let key = match key {
            "Enter" => Key::Enter.value(),
            "Escape" => Key::Escape.value(),
            "Tab" => Key::Tab.value(),
            "End" => Key::End.value(),
            "ArrowDown" => Key::Down.value(),
            "ArrowUp" => Key::Up.value(),
            key => key.chars().next().unwrap(),
        };
        self.write(&key.to_string()).await;
    }

    /// Key by key, to whatever has the focus.
    pub(crate) async fn write(&self, text: &str) {
        let chain = self.driver.action_chain();
        chain.send_keys(text).perform().await.unwrap();
    }

    /// From control to control, until this is true.
    pub(crate) async fn tab_to(&self, script: &str) {
        for _ in 0..100 {
            if self.eval(script).await == true {
                return;
            }
            self.press("Tab").await;
        }
        panic!("{script}: the keyboard does not come there");
    }
}

/// The port that it has taken, once it says so.
async fn port(printed: &Path) -> u16 {
    loop {
        let text = std::fs::read_to_string(printed).unwrap_or_default();
        let found = text.split_once("successfully on port ");
        if let Some((port, _)) = found.and_then(|(_, rest)| rest.split_once('.')) {
            return port.parse().unwrap();
        }
        sleep(Duration::from_millis(50)).await;
    }
}
