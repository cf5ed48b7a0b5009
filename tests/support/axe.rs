//! Asks axe-core, a checker that is not ours, about the accessibility of a page.
//!
//! `TOWER_WEBHOOK_AXE` names its script, which `.ci/axe` installs. Without one it says that it was skipped,
//! and with `TOWER_WEBHOOK_BROWSER=required` it fails then.

use crate::browser::{Browser, is_required};

/// What is serious or critical of the page that is open, in a line each. What it frames is a page by itself.
const FINDINGS: &str = "axe.run({ exclude: ['iframe'] }, { resultTypes: ['violations'], iframes: false })
    .then(({ violations }) => violations
        .filter(({ impact }) => ['serious', 'critical'].includes(impact))
        .flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target}: ${node.failureSummary}`))
        .join('\\n'))";

/// For a test of one browser or many pages.
pub(crate) struct Axe(Option<String>);

impl Axe {
    pub(crate) fn find() -> Self {
        let path = std::env::var_os("TOWER_WEBHOOK_AXE");
        assert!(
            path.is_some() || !is_required(),
            "no axe-core: set TOWER_WEBHOOK_AXE to what .ci/axe prints"
        );
        if path.is_none() {
            eprintln!("SKIPPED: there is no axe-core");
        }
        Self(path.map(|path| std::fs::read_to_string(path).unwrap()))
    }

    /// Empty where there is nothing to mend, or nobody to ask.
    pub(crate) async fn findings(&self, browser: &Browser) -> String {
        let Some(script) = &self.0 else {
            return String::new();
        };
        if browser.eval("typeof axe").await == "undefined" {
            browser.run(script).await;
        }
        let findings = browser.eval(FINDINGS).await;
        findings.as_str().expect("axe-core answers").to_owned()
    }

    /// Fails where it does not find what is wrong beyond doubt.
    #[allow(dead_code, reason = "one test of it is enough")]
    pub(crate) async fn finds_what_is_planted(&self, browser: &Browser) {
        browser
            .run("document.body.append(document.createElement('input'))")
            .await;
        let findings = self.findings(browser).await;
        assert!(
            self.0.is_none() || findings.starts_with("label: "),
            "{findings}"
        );
    }
}
