//! Reading, checking and writing the host spec.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Distribution;
use super::path::is_plain;
use super::{HostSpec, Keep, Network, REQUIRED_SUBVOLUMES, Subject, VERSION, is_served};
use crate::deployment::Deployment;
use crate::fault::{Fault, Kind};

/// Why a host spec was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// The file could not be read.
    #[error("cannot read the host spec {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not JSON.
    #[error("the host spec is not JSON: {0}")]
    Syntax(#[source] serde_json::Error),
    /// A field is unknown, missing, or of the wrong kind.
    #[error("the host spec is wrong at {path}: {why}")]
    Field {
        /// Where, as `containers.web-01.template`.
        path: String,
        /// Why.
        why: String,
    },
    /// It has no version.
    #[error("the host spec has no version")]
    NoVersion,
    /// It was written for a newer program.
    #[error("the host spec has version {found}, and this program knows versions up to {VERSION}")]
    TooNew {
        /// Its version.
        found: u64,
    },
}

impl Fault for SpecError {
    fn kind(&self) -> Kind {
        match self {
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Kind::NotFound,
            Self::Read { .. } => Kind::Failed,
            _ => Kind::Invalid,
        }
    }
    fn next(&self) -> Option<String> {
        Some(match self {
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Deployment::here().install().into()
            }
            Self::Read { .. } => return None,
            Self::NoVersion => format!("add \"version\": {VERSION}"),
            Self::TooNew { .. } => "update operation-dbus".into(),
            Self::Syntax(_) | Self::Field { .. } => {
                "`op-dbus config schema` prints what the document may hold".into()
            }
        })
    }
}

fn wrong(path: impl Into<String>, why: impl Into<String>) -> SpecError {
    SpecError::Field { path: path.into(), why: why.into() }
}

/// Reads, migrates and checks the host spec in a file.
pub fn load(path: &Path) -> Result<HostSpec, SpecError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| SpecError::Read { path: path.to_owned(), source })?;
    parse(&text)
}

/// Reads, migrates and checks a host spec.
pub fn parse(text: &str) -> Result<HostSpec, SpecError> {
    let mut document: Value = serde_json::from_str(text).map_err(SpecError::Syntax)?;
    let found = match document.get("version") {
        None => {
            return Err(if document.is_object() {
                SpecError::NoVersion
            } else {
                wrong(".", "it is not an object")
            });
        }
        Some(version) => {
            version.as_u64().ok_or_else(|| wrong("version", format!("{version} is not a whole number")))?
        }
    };
    if found > u64::from(VERSION) {
        return Err(SpecError::TooNew { found });
    }
    migrate(&mut document, found)?;
    let spec: HostSpec = serde_path_to_error::deserialize(document)
        .map_err(|error| wrong(error.path().to_string(), error.inner().to_string()))?;
    check(&spec)?;
    Ok(spec)
}

/// A step from the version of its index + 1 to the next.
type Migration = fn(&mut Value);

/// The steps there have been so far: none, version 1 being the first.
const MIGRATIONS: [Migration; VERSION as usize - 1] = [];

fn migrate(document: &mut Value, found: u64) -> Result<(), SpecError> {
    let first = usize::try_from(found)
        .ok()
        .and_then(|v| v.checked_sub(1))
        .ok_or_else(|| wrong("version", "versions begin at 1"))?;
    for step in MIGRATIONS.iter().skip(first) {
        step(document);
    }
    document["version"] = VERSION.into();
    Ok(())
}

/// Checks what the types cannot: that the parts of the document fit one another.
pub fn check(spec: &HostSpec) -> Result<(), SpecError> {
    check_storage(spec)?;
    check_ovs(spec)?;
    for (name, plugin) in &spec.plugins {
        if !is_served(&plugin.introspection) {
            return Err(wrong(
                format!("plugins.{name}.introspection"),
                format!(
                    "\"{}\" is neither a bus name nor one of opdbus:lxc, opdbus:netmaker, opdbus:ovs",
                    plugin.introspection
                ),
            ));
        }
    }
    for (name, template) in &spec.templates {
        let at = |field: &str| format!("templates.{name}.{field}");
        let word = |text: &str, more: &str| {
            !text.is_empty()
                && !text.starts_with('-')
                && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        if !word(&template.suite, "-.") {
            return Err(wrong(at("suite"), "a suite is a word such as stable or bookworm"));
        }
        // What is stable of Debian and Alpine is known by that name; of Ubuntu nothing is.
        if template.distribution == Distribution::Ubuntu
            && template.suite == "stable"
            && template.rootfs.is_none()
        {
            return Err(wrong(at("suite"), "a release of Ubuntu is named by its code name, such as noble"));
        }
        if let Some(mirror) = &template.mirror {
            let known = ["http://", "https://", "file:///"].iter().any(|scheme| mirror.starts_with(scheme));
            if !known || mirror.contains(|c: char| c.is_whitespace() || c.is_control()) {
                return Err(wrong(at("mirror"), "a mirror is an http, https or file address"));
            }
        }
        if let Some(rootfs) = &template.rootfs
            && (!rootfs.is_absolute() || rootfs.to_str().is_none_or(|s| s.contains(char::is_control)))
        {
            return Err(wrong(
                at("rootfs"),
                "the path of a tarball is absolute, and of printable characters",
            ));
        }
        if let Some(bad) = template.packages.iter().find(|p| !word(p, "+-.:")) {
            return Err(wrong(at("packages"), format!("\"{bad}\" is not the name of a package")));
        }
        if !word(&template.locale, "_-.@") {
            return Err(wrong(at("locale"), "a locale is a word such as C.UTF-8 or de_DE.UTF-8"));
        }
        if template.keep > 100 {
            return Err(wrong(at("keep"), "0 to 100 earlier generations can be kept"));
        }
        if !template.time_zone.split('/').all(|part| word(part, "_-+")) {
            return Err(wrong(at("timeZone"), "a time zone is a name such as Europe/Berlin"));
        }
        if let Some(user) = &template.user {
            let ok = user.name.len() <= 32
                && user.name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
                && user
                    .name
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c));
            if !ok || user.name == "root" {
                return Err(wrong(at("user.name"), "a login name is a-z, 0-9, '_' and '-', and not root"));
            }
            if let Some(bad) = user
                .ssh_keys
                .iter()
                .find(|k| k.contains(char::is_control) || k.split_whitespace().count() < 2)
            {
                return Err(wrong(
                    at("user.sshKeys"),
                    format!("\"{}\" is not one public key a line", bad.escape_debug()),
                ));
            }
        }
    }
    check_snapshots(spec)?;
    check_ledger(spec)?;
    if let Some((field, why)) = spec.ml.refusal() {
        return Err(wrong(field, why));
    }
    if let Some((field, why)) = spec.mcp.refusal() {
        return Err(wrong(field, why));
    }
    check_containers(spec)
}

fn check_snapshots(spec: &HostSpec) -> Result<(), SpecError> {
    for (subject, policy) in &spec.snapshots {
        if let Subject::Subvolume(name) = subject
            && !spec.btrfs.subvolumes.contains(name)
        {
            return Err(wrong(
                format!("snapshots.{subject}"),
                format!("there is no subvolume {subject} in btrfs.subvolumes"),
            ));
        }
        if let Some(rule) = policy.keep.excess() {
            return Err(wrong(
                format!("snapshots.{subject}.keep.{rule}"),
                format!("at most {} are kept: btrfs gets slow with thousands of snapshots", Keep::MOST),
            ));
        }
    }
    Ok(())
}

fn check_ledger(spec: &HostSpec) -> Result<(), SpecError> {
    let refusal = spec.ledger.checkpoints.as_ref().and_then(|kept| kept.to.refusal(&spec.btrfs.base_path));
    refusal.map_or(Ok(()), |why| Err(wrong("ledger.checkpoints.to", why)))
}

fn check_storage(spec: &HostSpec) -> Result<(), SpecError> {
    let base = &spec.btrfs.base_path;
    // Both paths go into a unit file, where spaces, quotes and '%' mean something.
    let plain = |path: &Path| {
        let odd = |c: char| c.is_whitespace() || c.is_control() || "%\\\"'".contains(c);
        is_plain(path, |c| !odd(c)) && path.parent().is_some()
    };
    if !plain(base) {
        return Err(wrong(
            "btrfs.basePath",
            "it must be an absolute path below /, without '..', spaces or quotes",
        ));
    }
    if !(1..=15).contains(&spec.btrfs.compression_level) {
        return Err(wrong("btrfs.compressionLevel", "zstd levels on btrfs are 1 to 15"));
    }
    for required in REQUIRED_SUBVOLUMES {
        if !spec.btrfs.subvolumes.iter().any(|s| s.as_str() == required) {
            return Err(wrong(
                "btrfs.subvolumes",
                format!("{required} is missing, and the programs need it"),
            ));
        }
    }
    if let Some(image) = &spec.btrfs.image {
        if !plain(&image.path) {
            return Err(wrong(
                "btrfs.image.path",
                "it must be an absolute path below /, without '..', spaces or quotes",
            ));
        }
        if image.path.starts_with(base) {
            return Err(wrong(
                "btrfs.image.path",
                "the image cannot lie inside the directory it is mounted at",
            ));
        }
        // mkfs.btrfs refuses less than about 109 MiB; a template alone takes more than that.
        if image.size.0 < 256 << 20 {
            return Err(wrong("btrfs.image.size", "at least 256M, and 4G or more to be of use"));
        }
    }
    Ok(())
}

fn check_ovs(spec: &HostSpec) -> Result<(), SpecError> {
    let ovs = &spec.ovs;
    let name_ok = (1..=15).contains(&ovs.bridge.len())
        && ovs.bridge.starts_with(|c: char| c.is_ascii_alphabetic())
        && ovs.bridge.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if !name_ok {
        return Err(wrong(
            "ovs.bridge",
            "an interface name is 1 to 15 letters, digits, '-' and '_', beginning with a letter",
        ));
    }
    if let Some(uplink) = &ovs.uplink {
        if !(1..=15).contains(&uplink.len())
            || uplink.contains(|c: char| c.is_whitespace() || "/:".contains(c))
        {
            return Err(wrong(
                "ovs.uplink",
                format!("\"{}\" is not the name of a network interface", uplink.escape_debug()),
            ));
        }
        if *uplink == ovs.bridge {
            return Err(wrong(
                "ovs.uplink",
                "it is the bridge itself; name the network card that leads outside",
            ));
        }
    }
    if ovs.subnet.addr() != ovs.subnet.network() {
        return Err(wrong(
            "ovs.subnet",
            format!("{} is an address in a network; the network is {}", ovs.subnet, ovs.subnet.trunc()),
        ));
    }
    if !(16..=29).contains(&ovs.subnet.prefix_len()) {
        return Err(wrong("ovs.subnet", "the prefix is 16 to 29 bits long"));
    }
    if ovs.subnet.addr().is_loopback()
        || ovs.subnet.addr().is_multicast()
        || ovs.subnet.addr().is_link_local()
        || ovs.subnet.addr().octets()[0] == 0
    {
        return Err(wrong("ovs.subnet", "it is not a network that hosts can have"));
    }
    Ok(())
}

fn check_containers(spec: &HostSpec) -> Result<(), SpecError> {
    let mut addresses = std::collections::BTreeMap::new();
    for (name, container) in &spec.containers {
        let at = |field: &str| format!("containers.{name}.{field}");
        if !spec.templates.contains_key(&container.template) {
            return Err(wrong(
                at("template"),
                format!("there is no template {} under templates", container.template),
            ));
        }
        if container.network == Network::Mesh {
            return Err(wrong(at("network"), "this host has no mesh yet; use socket"));
        }
        if container.connect.contains(name) {
            return Err(wrong(at("connect"), "a container needs no grant to reach itself"));
        }
        container.limits.check().map_err(|(field, why)| wrong(at(&format!("limits.{field}")), why))?;
        if let Some(address) = container.address {
            let subnet = spec.ovs.subnet;
            let usable = subnet.contains(&address)
                && address != subnet.network()
                && address != subnet.broadcast()
                && address != spec.ovs.gateway();
            if !usable {
                return Err(wrong(
                    at("address"),
                    format!(
                        "{address} is not a free address of {subnet} (the gateway has {})",
                        spec.ovs.gateway()
                    ),
                ));
            }
            if let Some(other) = addresses.insert(address, name) {
                return Err(wrong(at("address"), format!("{address} is {other}'s already")));
            }
        }
    }
    Ok(())
}

/// The document as it is written to disk: every field, defaults too, so that a reader sees all there is.
#[must_use]
pub fn render(spec: &HostSpec) -> String {
    let mut text = serde_json::to_string_pretty(spec).unwrap_or_default();
    text.push('\n');
    text
}

/// The JSON Schema of the document.
#[must_use]
pub fn schema() -> Value {
    schemars::schema_for!(HostSpec).to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn limits_that_no_host_has_are_refused_by_name() {
        for (field, value) in [
            ("cores", 0),
            ("cores", 4097),
            ("memory", 63),
            ("memory", (1 << 30) + 1),
            ("swap", (1 << 30) + 1),
        ] {
            let text =
                format!(r#"{{"version": 1, "containers": {{"a": {{"limits": {{"{field}": {value}}}}}}}}}"#);
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(&format!("containers.a.limits.{field}")), "{error}");
        }
    }

    #[test]
    fn the_defaults_are_valid_and_survive_being_written_and_read() {
        let spec = HostSpec::default();
        assert_eq!(parse(&render(&spec)).unwrap(), spec);
        assert_eq!(parse(r#"{"version": 1}"#).unwrap(), spec);
    }

    #[test]
    fn an_unknown_field_is_refused_with_its_path() {
        let text = error(r#"{"version": 1, "containers": {"web-01": {"templte": "x"}}}"#);
        assert!(text.contains("containers.web-01.templte") && text.contains("unknown field"), "{text}");
    }

    #[test]
    fn a_bad_name_is_refused_with_its_path_and_the_reason() {
        let text = error(r#"{"version": 1, "containers": {"../x": {}}}"#);
        assert!(text.contains("containers") && text.contains("a character other than"), "{text}");
    }

    #[test]
    fn versions_are_told_apart() {
        assert!(error("{}").contains("no version"));
        assert!(error(r#"{"version": 2}"#).contains("version 2"));
        assert!(error(r#"{"version": 0}"#).contains("begin at 1"));
        assert!(error(r#"{"version": "1"}"#).contains("whole number"));
        assert!(error("[]").contains("not an object"));
    }

    #[test]
    fn parts_that_do_not_fit_one_another_are_refused() {
        for (text, why) in [
            (r#"{"version":1,"btrfs":{"basePath":"relative"}}"#, "btrfs.basePath"),
            (r#"{"version":1,"btrfs":{"basePath":"/"}}"#, "btrfs.basePath"),
            (r#"{"version":1,"btrfs":{"basePath":"/a/../b"}}"#, "btrfs.basePath"),
            (r#"{"version":1,"btrfs":{"compressionLevel":16}}"#, "1 to 15"),
            (r#"{"version":1,"btrfs":{"subvolumes":["@cache"]}}"#, "@timing is missing"),
            (r#"{"version":1,"btrfs":{"image":{"size":"1M"}}}"#, "at least 256M"),
            (r#"{"version":1,"btrfs":{"image":{"size":"4G","path":"/a b"}}}"#, "btrfs.image.path"),
            (r#"{"version":1,"ovs":{"bridge":"a-name-that-is-too-long"}}"#, "ovs.bridge"),
            (r#"{"version":1,"ovs":{"subnet":"10.0.0.1/24"}}"#, "the network is 10.0.0.0/24"),
            (r#"{"version":1,"ovs":{"subnet":"10.0.0.0/8"}}"#, "16 to 29"),
            (r#"{"version":1,"plugins":{"x":{"introspection":"nodot"}}}"#, "plugins.x.introspection"),
            (r#"{"version":1,"templates":{"t":{"packages":["-rf"]}}}"#, "not the name of a package"),
            (r#"{"version":1,"templates":{"t":{"user":{"name":"root"}}}}"#, "not root"),
            (r#"{"version":1,"templates":{"t":{"keep":101}}}"#, "0 to 100 earlier generations"),
            (
                r#"{"version":1,"ledger":{"checkpoints":{"to":"/etc/kept","every":"daily"}}}"#,
                "ledger.checkpoints.to",
            ),
            (r#"{"version":1,"ledger":{"checkpoints":{"to":"journal","every":"yearly"}}}"#, "every"),
            (r#"{"version":1,"ledger":{"checkpoints":{"to":"journal"}}}"#, "every"),
            (r#"{"version":1,"ml":{"numThreads":0}}"#, "ml.numThreads"),
            (r#"{"version":1,"ml":{"executionProvider":"tpu"}}"#, "ml.executionProvider"),
            (r#"{"version":1,"mcp":{"address":"0.0.0.0"}}"#, "mcp.address"),
            (r#"{"version":1,"mcp":{"port":70000}}"#, "mcp.port"),
            (r#"{"version":1,"templates":{"t":{"distribution":"ubuntu"}}}"#, "code name"),
            (r#"{"version":1,"containers":{"a":{"template":"none"}}}"#, "no template none"),
            (r#"{"version":1,"containers":{"a":{"network":"mesh"}}}"#, "no mesh yet"),
            (r#"{"version":1,"containers":{"a":{"connect":["a"]}}}"#, "reach itself"),
            (r#"{"version":1,"containers":{"a":{"address":"10.0.0.1"}}}"#, "not a free address"),
            (
                r#"{"version":1,"containers":{"a":{"address":"10.0.0.5"},"b":{"address":"10.0.0.5"}}}"#,
                "a's already",
            ),
        ] {
            let message = error(text);
            assert!(message.contains(why), "{text}: {message}");
        }
    }

    #[test]
    fn plugins_given_are_added_to_the_four() {
        let spec =
            parse(r#"{"version":1,"plugins":{"dns":{"introspection":"org.freedesktop.resolve1"}}}"#).unwrap();
        let names: Vec<&str> = spec.plugins.keys().map(crate::name::PluginName::as_str).collect();
        assert_eq!(names, ["dns", "lxc", "netmaker", "ovs", "systemd"]);
    }

    #[test]
    fn the_schema_documents_every_field_of_the_top() {
        let schema = schema();
        for field in ["version", "btrfs", "ovs", "plugins", "templates", "containers", "ledger", "ml", "mcp"]
        {
            let described = schema["properties"][field]["description"].is_string();
            assert!(described, "{field} has no description");
        }
    }
}
