//! What is remembered of a container: `container.json` in its directory. That the directory is there
//! under its final name is what makes the container exist.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::ContainerError;
use crate::files;
use crate::hex::hex;
use crate::mac::MacAddr;
use crate::name::ContainerName;
use crate::paths::Tree;
use crate::spec::Container;

/// The version of `container.json`.
pub const RECORD_VERSION: u32 = 1;

/// The first host id that containers' ids are mapped to, 0x70000000. systemd's documentation of
/// user and group ids leaves 1879048192 to 2147352575 to nobody: above the range that
/// systemd-nspawn allocates from, below the foreign range.
pub const FIRST_MAPPED_ID: u32 = 1_879_048_192;

/// Ids each container has: as many as a Linux system usually knows.
pub const MAPPED_IDS: u32 = 65_536;

/// How many containers a host can have: what fits between [`FIRST_MAPPED_ID`] and the foreign range.
pub const MAX_SLOTS: u32 = 4_094;

/// The first OpenFlow port number of a container; those below are the bridge's own.
const FIRST_OFPORT: u32 = 100;

/// Who wants a container to exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The host spec: `apply` reconciles it.
    Declared,
    /// Somebody by hand: `apply` never touches it.
    Manual,
}

/// A container as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// The version of this record: 1.
    pub version: u32,
    /// Its name.
    pub name: ContainerName,
    /// Who wants it.
    pub origin: Origin,
    /// What was asked for.
    pub spec: Container,
    /// The generation of the template that it was cloned from.
    pub generation: String,
    /// The number that its id map and its OpenFlow port follow from; no two containers share one.
    pub slot: u32,
    /// Its address on the bridge.
    pub address: Ipv4Addr,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Name servers written into it when it was created.
    pub dns: Vec<std::net::IpAddr>,
    /// When it was created, in seconds since 1970.
    pub created: i64,
}

impl Record {
    /// Its port's number on the bridge.
    #[must_use]
    pub fn ofport(&self) -> u32 {
        FIRST_OFPORT + self.slot
    }

    /// The host id that its root is mapped to.
    #[must_use]
    pub fn first_id(&self) -> u32 {
        FIRST_MAPPED_ID + self.slot * MAPPED_IDS
    }

    /// The name of its interface on the host.
    #[must_use]
    pub fn interface(&self) -> String {
        interface_name(&self.name)
    }
}

/// The name of a container's interface on the host: at most 15 characters, as the kernel has it. A long
/// name is cut and told from its neighbours by a piece of its hash.
#[must_use]
pub fn interface_name(name: &ContainerName) -> String {
    let name = name.as_str();
    if name.len() <= 12 {
        return format!("oc-{name}");
    }
    let hash = hex(&Sha256::digest(name.as_bytes()));
    // Names are ASCII, so that cutting at bytes cuts at characters.
    format!("oc-{}-{}", &name[..6], &hash[..5])
}

/// All containers, by name. Directories under a temporary name are not containers.
pub fn all(tree: &Tree) -> Result<BTreeMap<ContainerName, Record>, ContainerError> {
    let directory = tree.containers();
    let mut records = BTreeMap::new();
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(records),
        Err(source) => return Err(ContainerError::Io { verb: "read", path: directory, source }),
    };
    for entry in entries {
        let entry =
            entry.map_err(|source| ContainerError::Io { verb: "read", path: directory.clone(), source })?;
        let Some(name) = entry.file_name().to_str().and_then(|n| n.parse::<ContainerName>().ok()) else {
            continue;
        };
        if let Some(record) = find(tree, &name)? {
            records.insert(name, record);
        }
    }
    Ok(records)
}

/// One container; `None` where there is none of that name.
pub fn find(tree: &Tree, name: &ContainerName) -> Result<Option<Record>, ContainerError> {
    let path = tree.container(name).join("container.json");
    let bytes = files::read_optional(&path).map_err(|source| ContainerError::Io {
        verb: "read",
        path: path.clone(),
        source,
    })?;
    let Some(bytes) = bytes else { return Ok(None) };
    let record: Record = serde_json::from_slice(&bytes)
        .map_err(|source| ContainerError::Record { path: path.clone(), source })?;
    Ok(Some(record))
}

/// What a new container gets that no other has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allocation {
    /// See [`Record::slot`].
    pub slot: u32,
    /// See [`Record::address`].
    pub address: Ipv4Addr,
}

/// Gives a new container the lowest free slot and the address asked for, else the lowest free one.
pub fn allocate(
    subnet: Ipv4Net,
    gateway: Ipv4Addr,
    reserved: &BTreeSet<Ipv4Addr>,
    asked: Option<Ipv4Addr>,
    records: &BTreeMap<ContainerName, Record>,
) -> Result<Allocation, ContainerError> {
    let slots: BTreeSet<u32> = records.values().map(|r| r.slot).collect();
    let slot =
        (0..MAX_SLOTS).find(|s| !slots.contains(s)).ok_or(ContainerError::NoSlot { most: MAX_SLOTS })?;
    let taken: BTreeMap<Ipv4Addr, &ContainerName> = records.values().map(|r| (r.address, &r.name)).collect();
    let address = match asked {
        Some(address) => {
            if !subnet.hosts().any(|host| host == address) || address == gateway {
                return Err(ContainerError::AddressOutside { address, subnet });
            }
            if let Some(owner) = taken.get(&address) {
                return Err(ContainerError::AddressTaken { address, owner: (*owner).clone() });
            }
            address
        }
        None => subnet
            .hosts()
            .find(|host| *host != gateway && !taken.contains_key(host) && !reserved.contains(host))
            .ok_or(ContainerError::SubnetFull { subnet })?,
    };
    Ok(Allocation { slot, address })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(name: &str, slot: u32, address: Ipv4Addr) -> Record {
        Record {
            version: RECORD_VERSION,
            name: name.parse().unwrap(),
            origin: Origin::Manual,
            spec: Container::default(),
            generation: "g".into(),
            slot,
            address,
            mac: "02:00:00:00:00:01".parse().unwrap(),
            dns: Vec::new(),
            created: 0,
        }
    }

    proptest! {
        #[test]
        fn no_two_containers_ever_share_an_address_a_slot_or_an_id(
            steps in proptest::collection::vec((any::<bool>(), 0_u32..40, proptest::option::of(0_u8..16)), 1..120)
        ) {
            let subnet: Ipv4Net = "10.0.0.0/28".parse().unwrap();
            let gateway = Ipv4Addr::new(10, 0, 0, 1);
            let mut records = BTreeMap::new();
            for (create, n, asked) in steps {
                let name: ContainerName = format!("c{n}").parse().unwrap();
                if create && !records.contains_key(&name) {
                    let asked = asked.map(|last| Ipv4Addr::new(10, 0, 0, last));
                    if let Ok(new) = allocate(subnet, gateway, &BTreeSet::new(), asked, &records) {
                        records.insert(name.clone(), record(name.as_str(), new.slot, new.address));
                    }
                } else {
                    records.remove(&name);
                }
                let addresses: BTreeSet<_> = records.values().map(|r| r.address).collect();
                let ids: BTreeSet<_> = records.values().map(Record::first_id).collect();
                let ports: BTreeSet<_> = records.values().map(Record::ofport).collect();
                prop_assert!([addresses.len(), ids.len(), ports.len()].iter().all(|n| *n == records.len()));
                prop_assert!(addresses.iter().all(|a| subnet.contains(a) && *a != gateway && a.octets()[3] != 0 && a.octets()[3] != 15));
            }
        }

        #[test]
        fn interface_names_fit_the_kernel_and_do_not_collide(a in "[a-z][a-z0-9-]{0,30}[a-z0-9]", b in "[a-z][a-z0-9-]{0,30}[a-z0-9]") {
            let (a, b): (ContainerName, ContainerName) = (a.parse().unwrap(), b.parse().unwrap());
            prop_assert!(interface_name(&a).len() <= 15);
            prop_assert_eq!(interface_name(&a) == interface_name(&b), a == b);
        }
    }

    #[test]
    fn a_full_subnet_and_a_taken_address_are_errors_that_say_so() {
        let subnet: Ipv4Net = "10.0.0.0/30".parse().unwrap();
        let gateway = Ipv4Addr::new(10, 0, 0, 1);
        let only = Ipv4Addr::new(10, 0, 0, 2);
        let records: BTreeMap<_, _> = [("a".parse().unwrap(), record("a", 0, only))].into();
        let error = allocate(subnet, gateway, &BTreeSet::new(), None, &records).unwrap_err().to_string();
        assert!(error.contains("10.0.0.0/30"), "{error}");
        let error =
            allocate(subnet, gateway, &BTreeSet::new(), Some(only), &records).unwrap_err().to_string();
        assert!(error.contains("10.0.0.2") && error.contains('a'), "{error}");
    }

    #[test]
    fn an_address_that_the_host_spec_declares_is_not_given_to_another() {
        let subnet: Ipv4Net = "10.0.0.0/29".parse().unwrap();
        let reserved = [Ipv4Addr::new(10, 0, 0, 2)].into();
        let new = allocate(subnet, Ipv4Addr::new(10, 0, 0, 1), &reserved, None, &BTreeMap::new()).unwrap();
        assert_eq!(new.address, Ipv4Addr::new(10, 0, 0, 3));
    }

    #[test]
    fn mapped_ids_stay_below_the_foreign_range() {
        let last = record("a", MAX_SLOTS - 1, Ipv4Addr::LOCALHOST);
        assert!(last.first_id() + MAPPED_IDS - 1 < 0x7FFE_0000);
    }
}
