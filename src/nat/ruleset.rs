//! The rules, as text for `nft -f`, and the seal by which they are known again.

use std::fmt::Write;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::bridge::{CONTAINER_PREFIX, SOCKET_PORT};
use crate::hex::hex;
use crate::spec::HostSpec;

/// Our tables, each with its family. The first one holds the seal.
pub(super) const TABLES: [[&str; 2]; 2] = [["inet", "opdbus"], ["arp", "opdbus"]];

/// The chain that holds the seal. Nothing jumps to it.
pub(super) const SEAL: &str = "seal";

/// Our tables, whole, as the host spec asks for them.
#[must_use]
pub fn render(spec: &HostSpec) -> String {
    let (port, containers) = (SOCKET_PORT, format!("{CONTAINER_PREFIX}*"));
    let subnet = spec.ovs.subnet;
    let mut text = String::from("table inet opdbus {\n");
    let mut chain = |name: &str, hook: &str, rules: &[String]| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  chain {name} {{\n    type {hook}; policy accept;");
        for rule in rules {
            let _ = writeln!(text, "    {rule}");
        }
        text.push_str("  }\n");
    };
    // With the userspace datapath a container's frames also come to the kernel at the host's end of its
    // interface, past the bridge and its flows. Whoever answers there opens a way around every grant. Nor does
    // the host speak there: its IPv6 would ask for routers on every interface.
    let past = |direction| [format!("{direction}ifname \"{containers}\" drop")];
    chain("past_the_bridge", "filter hook prerouting priority raw", &past("i"));
    chain("past_the_bridge_out", "filter hook output priority raw", &past("o"));
    if spec.ovs.nat {
        chain(
            "postrouting",
            "nat hook postrouting priority srcnat",
            &[format!("ip saddr {subnet} oifname != \"{port}\" masquerade")],
        );
    }
    let mut input = vec![
        format!("iifname \"{port}\" ct state established,related accept"),
        format!("iifname \"{port}\" icmp type echo-request accept"),
    ];
    if !spec.ovs.host_access {
        input.push(format!("iifname \"{port}\" drop"));
    }
    chain("input", "filter hook input priority filter", &input);
    chain(
        "forward",
        "filter hook forward priority filter",
        &[
            // From container to container is the bridge's affair, which knows the grants.
            format!("iifname \"{port}\" oifname \"{port}\" drop"),
            format!("oifname \"{port}\" ct state established,related accept"),
            format!("oifname \"{port}\" drop"),
        ],
    );
    text.push_str("}\ntable arp opdbus {\n");
    let _ = writeln!(
        text,
        "  chain past_the_bridge {{\n    type filter hook input priority filter; policy accept;\n    \
         iifname \"{containers}\" drop\n  }}\n}}"
    );
    text
}

/// The tables in one atomic replacement: deleted, declared anew.
pub(super) fn replacement(spec: &HostSpec) -> String {
    deletion() + &render(spec)
}

/// The tables' deletion, at once; declared first, so that it cannot fail where there is none.
pub(super) fn deletion() -> String {
    let mut text = String::new();
    for [family, table] in TABLES {
        let _ = writeln!(text, "table {family} {table}\ndelete table {family} {table}");
    }
    text
}

/// What seals the tables: a digest of what was asked for, and one of what nftables made of it. So a change
/// of the host spec and a change by someone else's hand are both seen, and nothing depends on how a
/// version of `nft` prints a rule.
pub(super) fn seal(spec: &HostSpec, listing: &[Value]) -> String {
    let asked = Sha256::digest(render(spec));
    let made = Sha256::digest(Value::from(listing.to_vec()).to_string());
    format!("opdbus {} {}", hex(&asked[..16]), hex(&made[..16]))
}

/// Adds the seal, in a chain of its own.
pub(super) fn sealing(seal: &str) -> String {
    let [[family, table], _] = TABLES;
    format!(
        "add chain {family} {table} {SEAL}\nflush chain {family} {table} {SEAL}\n\
         add rule {family} {table} {SEAL} return comment \"{seal}\"\n"
    )
}

/// Splits what `nft -j list table` prints into the table without its seal, free of what differs from one
/// loading to the next (handles), and the seal.
pub(super) fn listing(output: &[u8]) -> Result<(Vec<Value>, Option<String>), serde_json::Error> {
    let mut document: Value = serde_json::from_slice(output)?;
    let mut kept = Vec::new();
    let mut seal = None;
    let objects = document.get_mut("nftables").and_then(Value::as_array_mut);
    let Some(objects) = objects else { return Ok((kept, None)) };
    for object in objects.drain(..) {
        if object.get("metainfo").is_some() {
            continue;
        }
        if object["rule"]["chain"] == SEAL {
            // A second rule in the seal's chain would not be ours; then nothing is sealed.
            let comment = object["rule"]["comment"].as_str().unwrap_or_default().to_owned();
            seal = Some(if seal.is_none() { comment } else { String::new() });
        } else if object["chain"]["name"] != SEAL {
            kept.push(without_handles(object));
        }
    }
    Ok((kept, seal))
}

fn without_handles(mut object: Value) -> Value {
    if let Some(inner) = object.as_object_mut().and_then(|o| o.values_mut().next())
        && let Some(fields) = inner.as_object_mut()
    {
        fields.remove("handle");
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_rules() {
        insta::assert_snapshot!(render(&HostSpec::default()), @r#"
        table inet opdbus {
          chain past_the_bridge {
            type filter hook prerouting priority raw; policy accept;
            iifname "oc-*" drop
          }
          chain past_the_bridge_out {
            type filter hook output priority raw; policy accept;
            oifname "oc-*" drop
          }
          chain postrouting {
            type nat hook postrouting priority srcnat; policy accept;
            ip saddr 10.0.0.0/24 oifname != "veth-socket" masquerade
          }
          chain input {
            type filter hook input priority filter; policy accept;
            iifname "veth-socket" ct state established,related accept
            iifname "veth-socket" icmp type echo-request accept
            iifname "veth-socket" drop
          }
          chain forward {
            type filter hook forward priority filter; policy accept;
            iifname "veth-socket" oifname "veth-socket" drop
            oifname "veth-socket" ct state established,related accept
            oifname "veth-socket" drop
          }
        }
        table arp opdbus {
          chain past_the_bridge {
            type filter hook input priority filter; policy accept;
            iifname "oc-*" drop
          }
        }
        "#);
    }

    #[test]
    fn nothing_is_translated_and_nothing_of_the_host_closed_where_the_spec_says_so() {
        let mut spec = HostSpec::default();
        spec.ovs.nat = false;
        spec.ovs.host_access = true;
        let text = render(&spec);
        assert!(!text.contains("masquerade"));
        assert!(!text.contains("iifname \"veth-socket\" drop"));
        assert!(text.contains("oifname \"veth-socket\" drop"), "isolation does not depend on the way out");
    }

    #[test]
    fn a_listing_that_is_none_has_no_table() {
        for output in ["1", "[]", "{}", r#"{"nftables":1}"#, r#"{"nftables":[1,{"rule":2}]}"#] {
            let (_, seal) = listing(output.as_bytes()).unwrap();
            assert_eq!(seal, None, "{output}");
        }
    }

    #[test]
    fn the_listing_is_split_from_its_seal_and_freed_of_handles() {
        let output = br#"{"nftables":[{"metainfo":{"version":"1.0.6"}},{"table":{"family":"inet","name":"opdbus","handle":7}},
            {"chain":{"family":"inet","table":"opdbus","name":"seal","handle":5}},
            {"rule":{"family":"inet","table":"opdbus","chain":"seal","handle":9,"comment":"opdbus a b","expr":[{"return":null}]}}]}"#;
        let (kept, seal) = listing(output).unwrap();
        assert_eq!(kept, [serde_json::json!({"table":{"family":"inet","name":"opdbus"}})]);
        assert_eq!(seal.as_deref(), Some("opdbus a b"));
    }
}
