//! The page and what it is made of: in the program itself, or of the same names in a directory of the admin's.

use std::path::Path;

use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

/// The page.
pub const PAGE: &str = "chat.html";

macro_rules! files {
    ($page:literal, $($name:literal),+ $(,)?) => {
        /// The page's files: the page, and what is below `/assets`.
        const FILES: &[(&str, &str)] = &[
            ($page, include_str!(concat!("page/", $page))),
            $(($name, include_str!(concat!("page/assets/", $name)))),+
        ];
    };
}

files![
    "chat.html",
    "announce.js",
    "base.css",
    "chat.css",
    "chat.js",
    "composer.js",
    "confirm.js",
    "connection.js",
    "conversation.js",
    "copy.js",
    "dom.js",
    "early.js",
    "exchange.js",
    "favicon.svg",
    "format.js",
    "history.js",
    "icons.svg",
    "main.js",
    "messages.js",
    "panel.js",
    "result.js",
    "session.js",
    "signin.js",
    "suggest.js",
    "table.js",
    "theme.js",
    "ticks.js",
    "timeline.js",
    "title.js",
    "unclear.js",
];

/// Media types by the end of a name.
const TYPES: [(&str, &str); 4] = [
    (".html", "text/html; charset=utf-8"),
    (".css", "text/css; charset=utf-8"),
    (".js", "text/javascript; charset=utf-8"),
    (".svg", "image/svg+xml"),
];

/// A file of the page, by its name. A directory of the admin's may have other ones of the same names, and adds none.
pub fn file(name: &str, root: Option<&Path>, asked: &HeaderMap) -> Response {
    let Some((_, text)) = FILES.iter().find(|(known, _)| *known == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let inside = if name == PAGE { name.to_owned() } else { format!("assets/{name}") };
    let replaced = root.and_then(|root| std::fs::read_to_string(root.join(inside)).ok());
    let text = replaced.as_deref().unwrap_or(text);
    let kind = TYPES.iter().find(|(end, _)| name.ends_with(end)).map_or("text/plain", |(_, kind)| kind);
    let tag = format!("\"{}\"", &crate::hex::hex(&Sha256::digest(text))[..32]);
    let known = asked.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let status = if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let body = if known { String::new() } else { text.to_owned() };
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    // Asked for again each time, and not sent again where it is the same.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_served_and_has_a_type() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/page");
        let mut there: Vec<String> = std::fs::read_dir(page.join("assets"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        there.push(PAGE.into());
        there.sort();
        let mut served: Vec<&str> = FILES.iter().map(|(name, _)| *name).collect();
        served.sort_unstable();
        assert_eq!(served, there);
        for (name, text) in FILES {
            assert!(TYPES.iter().any(|(end, _)| name.ends_with(end)), "{name}");
            assert!(!text.contains("innerHTML") && !text.contains("eval("), "{name}");
        }
        assert_eq!(file("../chat.html", None, &HeaderMap::new()).status(), StatusCode::NOT_FOUND);
    }

    #[test]
    fn the_page_has_no_script_and_no_style_of_its_own() {
        let (_, page) = FILES.iter().find(|(name, _)| *name == PAGE).unwrap();
        for inline in ["<style", " style=", " onclick", "javascript:", "<script>"] {
            assert!(!page.contains(inline), "{inline}");
        }
    }

    #[test]
    fn what_has_not_changed_is_not_sent_again_and_a_directory_replaces_a_file() {
        let first = file(PAGE, None, &HeaderMap::new());
        let mut asked = HeaderMap::new();
        asked.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        assert_eq!(file(PAGE, None, &asked).status(), StatusCode::NOT_MODIFIED);
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(PAGE), "mine").unwrap();
        assert_eq!(file(PAGE, Some(dir.path()), &asked).status(), StatusCode::OK);
    }
}
