//! The page: one document with its script and its style in it, so that it needs no path of its own.

use crate::token::Token;

const HTML: &str = include_str!("assets/page.html");
const CSS: &str = include_str!("assets/page.css");
/// In this order: the last one starts it.
const SCRIPTS: [&str; 6] = [
    include_str!("assets/base.js"),
    include_str!("assets/plot.js"),
    include_str!("assets/detail.js"),
    include_str!("assets/actions.js"),
    include_str!("assets/list.js"),
    include_str!("assets/start.js"),
];

/// With the token where the page may act, and saying whether there is an event stream.
pub(crate) fn of(nonce: &str, token: Option<&Token>, has_events: bool) -> String {
    let token = token.map_or("", Token::as_str);
    let events = if has_events { "yes" } else { "no" };
    HTML.replace("{{nonce}}", nonce)
        .replace("{{token}}", token)
        .replace("{{events}}", events)
        .replace("{{css}}", CSS)
        .replace("{{js}}", &SCRIPTS.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_it_comes_from_elsewhere_or_is_made_of_text() {
        let page = of("n", None, true);
        for never in [
            "{{",
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "document.write",
            "eval(",
            "style=\"",
            "onclick=",
            "<base",
            "@import",
            "url(",
        ] {
            assert!(!page.contains(never), "{never}");
        }
        let links = page.matches("http").count();
        // The name of the SVG namespace is no address that is loaded.
        assert_eq!(links, page.matches("http://www.w3.org/2000/svg").count());
    }

    #[test]
    fn only_a_page_that_acts_has_the_token() {
        let token = Token::fresh().unwrap();
        assert!(of("n", Some(&token), true).contains(token.as_str()));
        assert!(!of("n", None, true).contains(token.as_str()));
    }
}
