use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::{ContainerName, TemplateName};

/// A container that shall exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Container {
    /// The template it is cloned from. Changing it later does not touch a container that exists.
    /// Default: debian-base.
    pub template: TemplateName,
    /// How it is reached: socket (this host) or mesh (across hosts). Default: socket.
    pub network: Network,
    /// Its address in the containers' subnet. Default: none, which means the first free one, kept for its life.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub address: Option<Ipv4Addr>,
    /// The containers whose service it may reach, over their Unix socket and over IP. Default: none:
    /// a container reaches no other that it was not granted.
    pub connect: Vec<ContainerName>,
    /// The service it offers to those that were granted it: where the service listens inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceAddress>,
    /// What it may use of the host.
    pub limits: Limits,
    /// Whether it may run containers itself. Default: false.
    pub nesting: bool,
    /// Whether it is started with the host, and by `apply`. Default: true.
    pub autostart: bool,
}

impl Default for Container {
    fn default() -> Self {
        Self {
            template: default_template(),
            network: Network::Socket,
            address: None,
            connect: Vec::new(),
            service: None,
            limits: Limits::default(),
            nesting: false,
            autostart: true,
        }
    }
}

#[allow(clippy::expect_used, reason = "a literal that a test parses")]
fn default_template() -> TemplateName {
    "debian-base".parse().expect("debian-base is a valid name")
}

/// How a container is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Unix sockets and IP on this host's bridge.
    Socket,
    /// The WireGuard mesh, across hosts.
    Mesh,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Socket => "socket",
            Self::Mesh => "mesh",
        })
    }
}

/// What a container may use of the host. The defaults are those of the requirements, section 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Processor cores' worth of time. Default: 2.
    #[schemars(range(min = 1, max = 4096))]
    pub cores: u32,
    /// Memory in MiB. Default: 2048.
    #[schemars(range(min = 64, max = 1_073_741_824))]
    pub memory: u64,
    /// Swap in MiB beside the memory. Default: 512.
    #[schemars(range(max = 1_073_741_824))]
    pub swap: u64,
}

impl Limits {
    /// The most cores.
    pub const CORES: u32 = 4096;
    /// The most memory, and the most swap, in MiB: a pebibyte, which every reader of JSON can hold.
    pub const MEMORY: u64 = 1 << 30;

    /// Whether a host can have them; else which is wrong, and why.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let most = Self::MEMORY;
        if !(1..=Self::CORES).contains(&self.cores) {
            Err(("cores", format!("1 to {} cores, not {}", Self::CORES, self.cores)))
        } else if !(64..=most).contains(&self.memory) {
            Err(("memory", format!("64 to {most} MiB of memory, not {}", self.memory)))
        } else if self.swap > most {
            Err(("swap", format!("at most {most} MiB of swap, not {}", self.swap)))
        } else {
            Ok(())
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { cores: 2, memory: 2048, swap: 512 }
    }
}

/// Where a service listens inside its container: a TCP port of 127.0.0.1 ("80"), an address and
/// port (`10.0.0.5:80`, `[::1]:80`), or a Unix socket ("/run/app.sock").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum ServiceAddress {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(String),
}

impl FromStr for ServiceAddress {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(port @ 1..) = text.parse::<u16>() {
            return Ok(Self::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)));
        }
        if let Ok(address) = text.parse::<SocketAddr>()
            && address.port() != 0
        {
            return Ok(Self::Tcp(address));
        }
        let path_ok = text.starts_with('/')
            && (2..=107).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-@+".contains(&b));
        if path_ok {
            return Ok(Self::Unix(text.to_owned()));
        }
        Err(format!(
            "\"{}\" is not where a service can listen; write a port (80), an address and port (127.0.0.1:80) or a socket's path (/run/app.sock)",
            text.escape_debug()
        ))
    }
}

impl TryFrom<String> for ServiceAddress {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ServiceAddress> for String {
    fn from(address: ServiceAddress) -> Self {
        address.to_string()
    }
}

impl fmt::Display for ServiceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => f.write_str(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_template_is_a_valid_name() {
        assert_eq!(default_template().as_str(), "debian-base");
    }

    #[test]
    fn service_addresses_are_read_and_nonsense_is_refused() {
        for (text, shown) in
            [("80", "127.0.0.1:80"), ("[::1]:80", "[::1]:80"), ("/run/app.sock", "/run/app.sock")]
        {
            assert_eq!(text.parse::<ServiceAddress>().unwrap().to_string(), shown);
        }
        for text in ["", "0", "65536", "localhost:80", "run/app.sock", "/run/a b", "/x\n", "10.0.0.1:0"] {
            assert!(text.parse::<ServiceAddress>().is_err(), "{text:?}");
        }
    }
}
