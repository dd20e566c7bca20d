//! The page and what it is made of: in the program itself, or of the same names in a directory of the admin's.

use std::io::Write;
use std::path::Path;
use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
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

/// What is sent as a file.
struct Form {
    body: Bytes,
    tag: String,
}

/// A file of the page that is in the program.
struct Built {
    name: &'static str,
    plain: Form,
    /// Where it is smaller so. Only what is the same for everybody is sent compressed: of an answer with a secret in it,
    /// the size would tell something of the secret (BREACH).
    gzip: Option<Form>,
}

/// The files in the program, summed and compressed when the first is asked for.
static BUILT: LazyLock<Vec<Built>> =
    LazyLock::new(|| FILES.iter().map(|(name, text)| built(name, text)).collect());

fn built(name: &'static str, text: &'static str) -> Built {
    let tag = tag_of(text);
    let body = compressed(text).filter(|body| body.len() < text.len());
    let gzip = body.map(|body| Form { body: body.into(), tag: format!("{tag}-gzip") });
    Built { name, plain: Form { body: Bytes::from_static(text.as_bytes()), tag }, gzip }
}

fn compressed(text: &str) -> Option<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(text.as_bytes()).ok()?;
    gzip.finish().ok()
}

fn tag_of(text: &str) -> String {
    crate::hex::hex(&Sha256::digest(text)[..16])
}

/// A file of the page, by its name. A directory of the admin's may have other ones of the same names, and adds none.
pub fn file(name: &str, root: Option<&Path>, asked: &HeaderMap) -> Response {
    let Some(built) = BUILT.iter().find(|built| built.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let inside = if name == PAGE { name.to_owned() } else { format!("assets/{name}") };
    // It may be another one each time.
    let replaced = root.and_then(|root| std::fs::read_to_string(root.join(inside)).ok());
    let replaced = replaced.map(|text| Form { tag: tag_of(&text), body: text.into() });
    let gzip = built.gzip.as_ref().filter(|_| replaced.is_none() && takes_gzip(asked));
    let form = gzip.or(replaced.as_ref()).unwrap_or(&built.plain);
    let tag = format!("\"{}\"", form.tag);
    let mut response = if knows(asked, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let kind = TYPES.iter().find(|(end, _)| name.ends_with(end)).map_or("text/plain", |(_, kind)| kind);
        let mut response = ([(header::CONTENT_TYPE, kind)], form.body.clone()).into_response();
        if gzip.is_some() {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    };
    let headers = response.headers_mut();
    // Asked for again each time, and not sent again where it is the same.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// The members of a header that is a list, in all its lines.
fn members(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
}

/// Whether gzip is among what may be sent (RFC 9110, 12.5.3): by its name, or else as anything is, and with a weight.
fn takes_gzip(asked: &HeaderMap) -> bool {
    let weight = |wanted: &str| {
        members(asked, header::ACCEPT_ENCODING).find_map(|member| {
            let (coding, parameter) = member.split_once(';').unwrap_or((member, "q=1"));
            coding.trim().eq_ignore_ascii_case(wanted).then(|| {
                let (name, weight) = parameter.split_once('=').unwrap_or_default();
                let weight = weight.trim().parse::<f32>().unwrap_or_default();
                if name.trim().eq_ignore_ascii_case("q") { weight } else { 0.0 }
            })
        })
    };
    weight("gzip").or_else(|| weight("*")).is_some_and(|weight| weight > 0.0)
}

/// Whether whoever asks has what has this tag. A proxy may have marked it as weak.
fn knows(asked: &HeaderMap, tag: &str) -> bool {
    members(asked, header::IF_NONE_MATCH)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

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
        let page = text_of(PAGE);
        for inline in ["<style", " style=", " onclick", "javascript:", "<script>"] {
            assert!(!page.contains(inline), "{inline}");
        }
    }

    fn text_of(name: &str) -> &'static str {
        FILES.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name} is not there")).1
    }

    /// What stands between a text and the next quotation mark, wherever that text is.
    fn quoted<'t>(text: &'t str, before: &'t str) -> impl Iterator<Item = &'t str> {
        text.split(before).skip(1).map(|rest| rest.split('"').next().unwrap())
    }

    /// The modules that a module imports.
    fn imports(name: &str) -> Vec<&'static str> {
        let mut found = Vec::new();
        for line in text_of(name).lines().filter(|line| !line.trim_start().starts_with(['/', '*'])) {
            found.extend(
                ["from \"", "import \"", "import(\""].into_iter().flat_map(|before| quoted(line, before)),
            );
        }
        found.into_iter().map(|path| path.strip_prefix("./").unwrap()).collect()
    }

    #[test]
    fn the_page_names_every_module_that_will_be_imported_and_every_file_is_of_use() {
        let page = text_of(PAGE);
        let [entry] = quoted(page, "<script type=\"module\" src=\"/assets/").collect::<Vec<_>>()[..] else {
            panic!("not one module to begin with")
        };
        let (mut reached, mut left) = (BTreeSet::new(), imports(entry));
        while let Some(module) = left.pop() {
            if reached.insert(module) {
                left.extend(imports(module));
            }
        }
        let named: Vec<&str> = quoted(page, "<link rel=\"modulepreload\" href=\"/assets/").collect();
        assert_eq!(named, reached.into_iter().collect::<Vec<_>>());
        let of_use: BTreeSet<&str> =
            quoted(page, "\"/assets/").map(|path| path.split('#').next().unwrap()).chain([PAGE]).collect();
        assert_eq!(of_use, FILES.iter().map(|(name, _)| *name).collect());
    }

    fn asked(lines: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn what_has_not_changed_is_not_sent_again_and_a_directory_replaces_a_file() {
        let first = file(PAGE, None, &HeaderMap::new());
        let tag = first.headers()[header::ETAG].to_str().unwrap();
        for known in [tag.to_owned(), format!("\"x\", {tag}"), format!("W/{tag}"), "*".into()] {
            let again = file(PAGE, None, &asked(&[(header::IF_NONE_MATCH, &known)]));
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{known}");
            assert_eq!(again.headers()[header::ETAG], tag);
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(PAGE), "mine").unwrap();
        let asked = asked(&[(header::IF_NONE_MATCH, tag), (header::ACCEPT_ENCODING, "gzip")]);
        let mine = file(PAGE, Some(dir.path()), &asked);
        assert_eq!(mine.status(), StatusCode::OK);
        assert!(mine.headers().get(header::CONTENT_ENCODING).is_none());
        let mine = mine.headers()[header::ETAG].clone();
        std::fs::write(dir.path().join(PAGE), "mine, too").unwrap();
        assert_ne!(file(PAGE, Some(dir.path()), &asked).headers()[header::ETAG], mine);
    }

    #[test]
    fn only_who_says_so_takes_gzip() {
        for (line, takes) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("br, gzip ; q=1.000", true),
            ("*", true),
            ("*;q=0, gzip", true),
            ("", false),
            ("br", false),
            ("identity", false),
            ("gzip;q=0", false),
            ("gzip; Q=0.000, *", false),
            ("*;q=0", false),
            ("gzip;q=much", false),
            ("gzip;level=9", false),
            ("xgzip", false),
        ] {
            assert_eq!(takes_gzip(&asked(&[(header::ACCEPT_ENCODING, line)])), takes, "{line}");
        }
        assert!(takes_gzip(&asked(&[(header::ACCEPT_ENCODING, "br"), (header::ACCEPT_ENCODING, "gzip")])));
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
