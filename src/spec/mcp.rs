//! The chat page and the MCP endpoint: whether, and where they listen.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::path::is_plain;

/// The chat page and the MCP endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mcp {
    /// Whether they are served.
    #[serde(default)]
    pub enable: bool,
    /// The TCP port.
    #[serde(default = "port")]
    #[schemars(range(min = 1))]
    pub port: u16,
    /// The address. One that other hosts reach needs `tls` or `proxy`.
    #[serde(default = "loopback")]
    pub address: IpAddr,
    /// The names by which browsers and programs reach it, beside the address itself and localhost: requests for another one are refused.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// The files for TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Whether a proxy is in front that does TLS, and passes the `Host` that it was asked for. The first of `hosts` is then
    /// its name.
    #[serde(default)]
    pub proxy: bool,
    /// Whether the host's firewall (UFW, firewalld) lets the port through, where the address is one that other hosts reach.
    /// Nobody is answered there without a token.
    #[serde(default)]
    pub open_firewall: bool,
    /// A directory whose files replace those of the page that have the same names (chat.html, assets/chat.css). Default:
    /// none, the page is in the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
}

/// The files for TLS, as PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// The certificate, and those that lead from it to a root.
    pub certificate: PathBuf,
    /// Its key. It is read by systemd, so that root alone need be able to.
    pub key: PathBuf,
}

fn port() -> u16 {
    8080
}

fn loopback() -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}

impl Default for Mcp {
    fn default() -> Self {
        Self {
            enable: false,
            port: port(),
            address: loopback(),
            hosts: Vec::new(),
            tls: None,
            proxy: false,
            open_firewall: false,
            root: None,
        }
    }
}

/// Whether a text is the name of a host, as it stands in a URL.
pub(super) fn is_host(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// Whether a path can stand in a unit file as it is.
pub(super) fn stands_in_a_unit(path: &Path) -> bool {
    is_plain(path, |c| c.is_ascii_alphanumeric() || "/._-@+".contains(c))
}

impl Mcp {
    /// The first field that is wrong, and why.
    #[must_use]
    pub fn refusal(&self) -> Option<(String, String)> {
        let wrong = |field: &str, why: String| Some((format!("mcp.{field}"), why));
        if self.port == 0 {
            return wrong("port", "it is from 1 to 65535".into());
        }
        if let Some((at, name)) = self.hosts.iter().enumerate().find(|(_, name)| !is_host(name)) {
            let name = name.escape_default();
            return wrong(
                &format!("hosts[{at}]"),
                format!("\"{name}\" is no host name: lower case, without a scheme and a port"),
            );
        }
        if let Some(tls) = &self.tls {
            for (field, path) in [("tls.certificate", &tls.certificate), ("tls.key", &tls.key)] {
                if !stands_in_a_unit(path) {
                    return wrong(field, "write an absolute path of letters, digits and ./_-@+".into());
                }
            }
        }
        if let Some(root) = self.root.as_deref().filter(|root| !stands_in_a_unit(root)) {
            let root = root.display().to_string();
            return wrong(
                "root",
                format!("\"{}\" is no absolute path of letters, digits and ./_-@+", root.escape_default()),
            );
        }
        if self.proxy && self.hosts.is_empty() {
            return wrong("hosts", "name the proxy, as browsers do".into());
        }
        if !self.address.is_loopback() && self.tls.is_none() && !self.proxy {
            return wrong(
                "address",
                format!(
                    "{} is reached by other hosts, and what is said there could be read on the way: give tls, or declare the proxy \
                     that does it",
                    self.address
                ),
            );
        }
        if self.open_firewall && self.address.is_loopback() {
            return wrong(
                "openFirewall",
                format!(
                    "there is nothing to open for: {} is reached by this host alone; set address, and tls or proxy, or leave it false",
                    self.address
                ),
            );
        }
        None
    }

    /// The address and port, as `ListenStream=` has them.
    #[must_use]
    pub fn listen(&self) -> String {
        match self.address {
            IpAddr::V4(address) => format!("{address}:{}", self.port),
            IpAddr::V6(address) => format!("[{address}]:{}", self.port),
        }
    }

    /// Where a browser finds it: `http://127.0.0.1:8080`.
    #[must_use]
    pub fn origin(&self) -> String {
        let scheme = if self.tls.is_some() || self.proxy { "https" } else { "http" };
        match self.hosts.first() {
            Some(name) if self.proxy => format!("{scheme}://{name}"),
            Some(name) => format!("{scheme}://{name}:{}", self.port),
            None if self.address.is_unspecified() => format!("{scheme}://localhost:{}", self.port),
            None => format!("{scheme}://{}", self.listen()),
        }
    }

    /// What `Host` may be, without a port: the names, the address, and on loopback what every browser knows it by.
    #[must_use]
    pub fn authorities(&self) -> Vec<String> {
        let mut all = self.hosts.clone();
        match self.address {
            address if address.is_unspecified() => {}
            IpAddr::V4(address) => all.push(address.to_string()),
            IpAddr::V6(address) => all.push(format!("[{address}]")),
        }
        all.extend(["localhost", "127.0.0.1", "[::1]"].map(str::to_owned));
        all.sort();
        all.dedup();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mcp(text: &str) -> Mcp {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn it_listens_on_loopback_and_elsewhere_only_by_tls() {
        assert_eq!((mcp("{}").listen().as_str(), mcp("{}").refusal()), ("127.0.0.1:8080", None));
        let public = r#""address": "0.0.0.0""#;
        assert_eq!(mcp(&format!("{{{public}}}")).refusal().unwrap().0, "mcp.address");
        let tls = r#""tls": {"certificate": "/etc/ssl/a.pem", "key": "/etc/ssl/private/a.key"}"#;
        assert_eq!(mcp(&format!("{{{public}, {tls}}}")).refusal(), None);
        assert_eq!(mcp(&format!(r#"{{{public}, "proxy": true}}"#)).refusal().unwrap().0, "mcp.hosts");
        assert_eq!(
            mcp(&format!(r#"{{{public}, "proxy": true, "hosts": ["ops.example.org"]}}"#)).refusal(),
            None
        );
    }

    #[test]
    fn a_firewall_is_opened_only_for_what_others_reach() {
        for loopback in ["127.0.0.1", "127.9.9.9", "::1"] {
            let (field, why) =
                mcp(&format!(r#"{{"openFirewall": true, "address": "{loopback}"}}"#)).refusal().unwrap();
            assert_eq!(field, "mcp.openFirewall");
            assert!(why.contains(loopback) && why.contains("set address"), "{why}");
        }
        let open = r#""openFirewall": true, "address": "::""#;
        // Without TLS it is refused for what it is refused without that.
        assert_eq!(mcp(&format!("{{{open}}}")).refusal().unwrap().0, "mcp.address");
        let tls = r#""tls": {"certificate": "/c.pem", "key": "/k.pem"}"#;
        assert_eq!(mcp(&format!("{{{open}, {tls}}}")).refusal(), None);
        assert_eq!(mcp(&format!(r#"{{{open}, "proxy": true, "hosts": ["a.example"]}}"#)).refusal(), None);
    }

    #[test]
    fn what_cannot_be_a_name_or_stand_in_a_unit_is_refused() {
        for (text, field) in [
            (r#"{"port": 0}"#, "mcp.port"),
            (r#"{"hosts": ["a", "https://b"]}"#, "mcp.hosts[1]"),
            (r#"{"hosts": ["a:8080"]}"#, "mcp.hosts[0]"),
            (r#"{"hosts": ["A.example"]}"#, "mcp.hosts[0]"),
            (r#"{"tls": {"certificate": "a.pem", "key": "/k"}}"#, "mcp.tls.certificate"),
            (r#"{"tls": {"certificate": "/a.pem", "key": "/k\nUser=root"}}"#, "mcp.tls.key"),
            (r#"{"tls": {"certificate": "/a.pem", "key": "/k%n"}}"#, "mcp.tls.key"),
        ] {
            assert_eq!(mcp(text).refusal().unwrap().0, field, "{text}");
        }
    }

    #[test]
    fn a_browser_is_sent_to_where_it_is_served() {
        for (text, origin) in [
            ("{}", "http://127.0.0.1:8080"),
            (r#"{"address": "::1", "port": 9000}"#, "http://[::1]:9000"),
            (r#"{"hosts": ["ops.example.org"], "proxy": true}"#, "https://ops.example.org"),
            (
                r#"{"address": "0.0.0.0", "tls": {"certificate": "/c", "key": "/k"}}"#,
                "https://localhost:8080",
            ),
        ] {
            assert_eq!(mcp(text).origin(), origin);
        }
        assert_eq!(
            mcp(r#"{"address": "10.0.0.9"}"#).authorities(),
            ["10.0.0.9", "127.0.0.1", "[::1]", "localhost"]
        );
    }
}
