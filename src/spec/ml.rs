//! Search by meaning: whether, what computes it, and where its vectors are.

use std::net::IpAddr;
use std::path::PathBuf;

use hyper::Uri;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::mcp::{is_host, stands_in_a_unit};
use super::path::is_plain;

/// Search by meaning. Without it the search is one of words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ml {
    /// Whether the ledger's entries are embedded, so that they are found by what they mean. It takes the model's files
    /// (`op-dbus model fetch`) and about 150 MB of memory while it works.
    #[serde(default)]
    pub enable: bool,
    /// What computes the embeddings.
    #[serde(default)]
    pub execution_provider: ExecutionProvider,
    /// The threads that compute them.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1024))]
    pub num_threads: u16,
    /// The directory of the model's files. Default: below `@cache`, where `op-dbus model fetch` puts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// The Qdrant server that has the vectors of this host's entries, with those of others. Default: none, they are in this
    /// host's own index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qdrant: Option<Qdrant>,
}

/// A Qdrant server, and the collection there that many hosts share. Each looks among its own vectors alone. What is sent is a
/// vector for each entry of the ledger, its number, its time, its operation, its caller and how it ended; its words, and
/// the search by words, stay here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Qdrant {
    /// Where it answers by gRPC: `https://qdrant.example.org:6334`. `http` is read and changed by whoever is on the way.
    pub url: String,
    /// The collection. It is made where there is none.
    #[serde(default = "collection")]
    pub collection: String,
    /// The file with the API key. It is read by systemd, so that root alone need be able to; over `http` a key is sent to
    /// this host alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<PathBuf>,
}

fn collection() -> String {
    "operation-dbus".into()
}

/// Where a Qdrant server is, as far as its URL tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// On this host.
    Here,
    /// At an address.
    At(IpAddr),
    /// At whatever address its name has.
    Named,
}

impl Qdrant {
    /// Whether its URL is one, and whether it is by TLS.
    fn uri(&self) -> Result<(Uri, bool), String> {
        let wrong = || "write https://HOST:PORT (or http), and nothing behind it".to_owned();
        let uri: Uri = self.url.parse().map_err(|_| wrong())?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let authority = uri.authority().ok_or_else(wrong)?;
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none() && !self.url.contains('#');
        let host = authority.host();
        // A port that is none, and a user's name, are in the authority and in neither of these.
        let whole = bare && authority.port_u16().map_or(authority.as_str() == host, |port| port > 0);
        let whole = whole && !authority.as_str().contains('@');
        let known = address(host).is_some() || (is_host(host) && !host.starts_with('['));
        if whole && known { Ok((uri, tls)) } else { Err(wrong()) }
    }

    /// Where it is.
    #[must_use]
    pub fn whereabouts(&self) -> Whereabouts {
        let host = self.uri().ok().and_then(|(uri, _)| uri.host().map(str::to_owned)).unwrap_or_default();
        match address(&host) {
            Some(address) if address.is_loopback() => Whereabouts::Here,
            Some(address) => Whereabouts::At(address),
            None if host == "localhost" => Whereabouts::Here,
            None => Whereabouts::Named,
        }
    }

    /// The first field that is wrong, and why.
    fn refusal(&self) -> Option<(&'static str, String)> {
        let tls = match self.uri() {
            Ok((_, tls)) => tls,
            Err(why) => return Some(("ml.qdrant.url", why)),
        };
        let letters = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let named = (1..=255).contains(&self.collection.len())
            && self.collection.starts_with(|c: char| c.is_ascii_alphanumeric())
            && self.collection.chars().all(letters);
        if !named {
            return Some((
                "ml.qdrant.collection",
                "write a name of letters, digits and -_. that begins with a letter or a digit".into(),
            ));
        }
        let file = self.api_key_file.as_deref()?;
        if !stands_in_a_unit(file) {
            return Some((
                "ml.qdrant.apiKeyFile",
                "write an absolute path of letters, digits and ./_-@+".into(),
            ));
        }
        (!tls && self.whereabouts() != Whereabouts::Here).then(|| {
            (
                "ml.qdrant.url",
                "the API key would be readable on the way: write https, or leave the key away".into(),
            )
        })
    }
}

/// The address that the host of a URL is.
fn address(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).parse().ok()
}

/// What computes the embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExecutionProvider {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU. The programs must have been built for it; where they were not, or there is none, nothing is embedded,
    /// and the search says why.
    Cuda,
}

fn one() -> u16 {
    1
}

impl Default for Ml {
    fn default() -> Self {
        Self {
            enable: false,
            execution_provider: ExecutionProvider::default(),
            num_threads: one(),
            model: None,
            qdrant: None,
        }
    }
}

impl Ml {
    /// The first field that is wrong, and why.
    #[must_use]
    pub fn refusal(&self) -> Option<(&'static str, String)> {
        if !(1..=1024).contains(&self.num_threads) {
            return Some(("ml.numThreads", "it is from 1 to 1024".into()));
        }
        if self.model.as_ref().is_some_and(|path| !is_plain(path, |c| !c.is_control())) {
            return Some(("ml.model", "write an absolute path, without '..'".into()));
        }
        self.qdrant.as_ref()?.refusal()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_by_its_field() {
        let good = Ml::default();
        assert_eq!(good.refusal(), None);
        assert_eq!(Ml { model: Some("/srv/models".into()), ..good.clone() }.refusal(), None);
        for (ml, field) in [
            (Ml { num_threads: 0, ..good.clone() }, "ml.numThreads"),
            (Ml { num_threads: 1025, ..good.clone() }, "ml.numThreads"),
            (Ml { model: Some("models".into()), ..good.clone() }, "ml.model"),
            (Ml { model: Some("/srv/../etc".into()), ..good }, "ml.model"),
        ] {
            assert_eq!(ml.refusal().map(|(field, _)| field), Some(field));
        }
    }

    fn qdrant(text: &str) -> Qdrant {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_server_is_named_by_a_plain_url_and_a_key_is_sent_by_tls_or_to_this_host() {
        use Whereabouts::{At, Here, Named};
        for (url, place) in [
            ("https://qdrant.example.org:6334", Named),
            ("https://qdrant.example.org", Named),
            ("http://10.0.0.9:6334/", At("10.0.0.9".parse().unwrap())),
            ("https://[fd00::9]:6334", At("fd00::9".parse().unwrap())),
            ("http://localhost:6334", Here),
            ("http://127.0.0.2:6334", Here),
            ("http://[::1]:6334", Here),
        ] {
            let server = qdrant(&format!(r#"{{"url": "{url}"}}"#));
            assert_eq!((server.refusal(), server.whereabouts()), (None, place), "{url}");
            let key = Qdrant { api_key_file: Some("/etc/opdbus/qdrant-key".into()), ..server };
            let refused = url.starts_with("http://10.");
            assert_eq!(key.refusal().map(|(field, _)| field), refused.then_some("ml.qdrant.url"), "{url}");
        }
    }

    #[test]
    fn what_is_no_server_no_collection_and_no_path_is_refused_by_its_field() {
        for url in [
            "",
            "qdrant:6334",
            "grpc://qdrant:6334",
            "unix:///run/qdrant.sock",
            "https://",
            "https://:6334",
            "https://qdrant:",
            "https://qdrant:0",
            "https://qdrant:65536",
            "https://key@qdrant:6334",
            "https://qdrant:6334/collections",
            "https://qdrant:6334?key=a",
            "https://qdrant:6334#a",
            "https://qdrant 6334",
            "https://qdrant\nUser=root",
            "https://%6c:6334",
            "https://[::1",
        ] {
            let server = qdrant(&serde_json::json!({ "url": url }).to_string());
            assert_eq!(server.refusal().unwrap().0, "ml.qdrant.url", "{url}");
        }
        let good = qdrant(r#"{"url": "https://qdrant:6334"}"#);
        for collection in ["", "a/b", "..", "-a", "a b", "ä"] {
            let server = Qdrant { collection: collection.into(), ..good.clone() };
            assert_eq!(server.refusal().unwrap().0, "ml.qdrant.collection", "{collection}");
        }
        for path in ["key", "/a/../b", "/k%n", "/k\nUser=root"] {
            let server = Qdrant { api_key_file: Some(path.into()), ..good.clone() };
            assert_eq!(server.refusal().unwrap().0, "ml.qdrant.apiKeyFile", "{path}");
        }
    }
}
