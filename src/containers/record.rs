//! What is remembered of a container: `container.json` in its directory. That its root file system is there
//! beside it is what makes the container exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::Ipv4Net;
use rustix::fs::{XattrFlags, getxattr, setxattr};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::ContainerError;
use crate::files;
use crate::hex::hex;
use crate::mac::MacAddr;
use crate::name::ContainerName;
use crate::paths::Tree;
use crate::spec::Container;

/// The file of a container's record in its directory.
pub(super) const RECORD: &str = "container.json";

/// The extended attribute of a container's directory that has the record, too, as it was when the container was made.
const FIRST: &str = "user.opdbus.record";

/// The longest value of an extended attribute (xattr(7)); btrfs has less, what fits in one of its nodes.
const LONGEST_ATTRIBUTE: usize = 65_536;

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

/// The container whose interface has the name that the one of `name` would have.
#[must_use]
pub fn interface_owner<'a>(records: &'a Records, name: &ContainerName) -> Option<&'a ContainerName> {
    let interface = interface_name(name);
    records.keys().find(|other| *other != name && interface_name(other) == interface)
}

/// Containers by name.
pub type Records = BTreeMap<ContainerName, Arc<Record>>;

/// A file as it was read: a file that was replaced or written to has another of these.
type Stamp = (u64, u64, i64, i64, u64);

/// The records of one directory of containers that this process has read.
struct Known {
    directory: PathBuf,
    records: BTreeMap<ContainerName, (Stamp, Arc<Record>)>,
}

/// With many containers, reading all records anew is most of what creating one more would take.
static KNOWN: Mutex<Option<Known>> = Mutex::new(None);

/// All containers, by name. A directory without a root file system is none, nor is one under a temporary name.
pub fn all(tree: &Tree) -> Result<Records, ContainerError> {
    let (records, damaged) = readable(tree)?;
    damaged.into_iter().next().map_or(Ok(records), Err)
}

/// All containers whose record can be read, and what is wrong with the others'. For what concerns each container by
/// itself; who decides on all of them (which address is free, which flows are ours) must know all.
pub fn readable(tree: &Tree) -> Result<(Records, Vec<ContainerError>), ContainerError> {
    let directory = tree.containers();
    let failed = |source| ContainerError::Io { verb: "read", path: directory.clone(), source };
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut before = match known.take() {
        Some(known) if known.directory == directory => known.records,
        _ => BTreeMap::new(),
    };
    let (mut now, mut damaged) = (BTreeMap::new(), Vec::new());
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Records::new(), damaged)),
        Err(source) => return Err(failed(source)),
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let Some(name) = entry.file_name().to_str().and_then(|n| n.parse::<ContainerName>().ok()) else {
            continue;
        };
        let stamp = stamp(&tree.container(&name).join(RECORD));
        let record = match before.remove(&name) {
            Some((then, record)) if stamp == Some(then) && has_rootfs(tree, &name) => Some(record),
            _ => match find(tree, &name) {
                Ok(found) => found.map(Arc::new),
                Err(error @ ContainerError::Record { .. }) => {
                    damaged.push(error);
                    continue;
                }
                Err(error) => return Err(error),
            },
        };
        if let (Some(stamp), Some(record)) = (stamp, record) {
            now.insert(name, (stamp, record));
        }
    }
    let records = now.iter().map(|(name, (_, record))| (name.clone(), Arc::clone(record))).collect();
    *known = Some(Known { directory, records: now });
    Ok((records, damaged))
}

fn has_rootfs(tree: &Tree, name: &ContainerName) -> bool {
    tree.container(name).join("rootfs").symlink_metadata().is_ok_and(|found| found.is_dir())
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec(), metadata.size()))
}

/// One container; `None` where there is none of that name.
pub fn find(tree: &Tree, name: &ContainerName) -> Result<Option<Record>, ContainerError> {
    if !has_rootfs(tree, name) {
        return Ok(None);
    }
    let directory = tree.container(name);
    let path = directory.join(RECORD);
    let failed = |source| ContainerError::Io { verb: "read", path: path.clone(), source };
    let bytes = match files::read_optional(&path).map_err(failed)? {
        Some(bytes) if bytes.is_empty() => first(&directory).map_err(failed)?,
        bytes => bytes,
    };
    let Some(bytes) = bytes else { return Ok(None) };
    let record: Record = serde_json::from_slice(&bytes)
        .map_err(|source| ContainerError::Record { path: path.clone(), source })?;
    Ok(Some(record))
}

/// The record as the bytes of its file.
pub(super) fn encode(path: &Path, record: &Record) -> Result<Vec<u8>, ContainerError> {
    serde_json::to_vec_pretty(record)
        .map_err(|source| ContainerError::Record { path: path.to_owned(), source })
}

/// Writes the record of a new container such that the file system's next commit, which the clone of the root file
/// system is, puts it on the disk. btrfs commits what is in a file only after that was written back, but an attribute
/// together with the directory that has it: a wait of its own for the file would take as long as all of the clone. A
/// power cut in the first half minute leaves the file empty, and then the attribute is read. A record too long for an
/// attribute is waited for.
pub(super) fn write_first(directory: &Path, record: &Record) -> Result<(), ContainerError> {
    let path = directory.join(RECORD);
    let bytes = encode(&path, record)?;
    let failed = |source| ContainerError::Io { verb: "write", path: path.clone(), source };
    let mut file = File::create_new(&path).map_err(failed)?;
    file.write_all(&bytes).map_err(failed)?;
    match setxattr(directory, FIRST, &bytes, XattrFlags::empty()) {
        Ok(()) => Ok(()),
        Err(Errno::NOSPC | Errno::TOOBIG | Errno::RANGE | Errno::OPNOTSUPP) => {
            file.sync_data().map_err(failed)
        }
        Err(error) => Err(failed(error.into())),
    }
}

/// What [`write_first`] left in the attribute.
fn first(directory: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; LONGEST_ATTRIBUTE];
    match getxattr(directory, FIRST, bytes.as_mut_slice()) {
        Ok(length) => {
            bytes.truncate(length);
            Ok(Some(bytes))
        }
        // As without a file.
        Err(Errno::NODATA | Errno::NOENT | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error.into()),
    }
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
    records: &Records,
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
                        records.insert(name.clone(), record(name.as_str(), new.slot, new.address).into());
                    }
                } else {
                    records.remove(&name);
                }
                let addresses: BTreeSet<_> = records.values().map(|r| r.address).collect();
                let ids: BTreeSet<_> = records.values().map(|r| r.first_id()).collect();
                let ports: BTreeSet<_> = records.values().map(|r| r.ofport()).collect();
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
    fn a_damaged_record_hides_no_other_and_is_passed_over_by_none_who_has_to_know_all() {
        let base = tempfile::tempdir().unwrap();
        let tree = Tree::new(base.path());
        for (name, damaged) in [("good", false), ("bad", true)] {
            let record = record(name, 1, Ipv4Addr::new(10, 0, 0, 2));
            let directory = tree.container(&record.name);
            std::fs::create_dir_all(directory.join("rootfs")).unwrap();
            let mut bytes = encode(&directory, &record).unwrap();
            if damaged {
                bytes.truncate(20);
            }
            std::fs::write(directory.join(RECORD), bytes).unwrap();
        }
        let (records, damaged) = readable(&tree).unwrap();
        assert_eq!(records.into_keys().map(|name| name.to_string()).collect::<Vec<_>>(), ["good"]);
        let said = damaged.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            said,
            [format!("the record {} is damaged", base.path().join("containers/bad").join(RECORD).display())]
        );
        assert_eq!(all(&tree).unwrap_err().to_string(), said[0]);
    }

    #[test]
    fn a_container_whose_interface_another_has_is_told_before_it_is_made() {
        // Both are cut to oc-worker-dfa0d.
        let first = record("worker-00781-a", 1, Ipv4Addr::new(10, 0, 0, 2));
        let records: Records = [(first.name.clone(), first.into())].into();
        let owner = |name: &str| {
            interface_owner(&records, &name.parse().unwrap()).map(ContainerName::as_str).map(str::to_owned)
        };
        assert_eq!(owner("worker-01248-a").as_deref(), Some("worker-00781-a"));
        assert_eq!(owner("worker-01249-a"), None);
        assert_eq!(owner("worker-00781-a"), None);
    }

    #[test]
    fn a_record_whose_file_a_power_cut_left_empty_is_read_from_the_attribute_and_a_later_one_from_its_file() {
        let base = tempfile::tempdir().unwrap();
        let tree = Tree::new(base.path());
        let mut record = record("a", 7, Ipv4Addr::new(10, 0, 0, 9));
        let directory = tree.container(&record.name);
        std::fs::create_dir_all(directory.join("rootfs")).unwrap();
        assert_eq!(find(&tree, &record.name).unwrap(), None, "neither file nor attribute");
        write_first(&directory, &record).unwrap();
        let file = directory.join(RECORD);
        assert_eq!(encode(&file, &record).unwrap(), std::fs::read(&file).unwrap());
        // What btrfs keeps of a file that was never written back.
        std::fs::File::options().write(true).open(&file).unwrap().set_len(0).unwrap();
        assert_eq!(find(&tree, &record.name).unwrap().as_ref(), Some(&record));
        assert_eq!(all(&tree).unwrap().len(), 1);
        record.origin = Origin::Declared;
        files::replace(&file, &encode(&file, &record).unwrap(), 0o644).unwrap();
        assert_eq!(find(&tree, &record.name).unwrap().unwrap().origin, Origin::Declared);
    }

    #[test]
    fn a_record_too_long_for_an_attribute_is_in_its_file() {
        let base = tempfile::tempdir().unwrap();
        let tree = Tree::new(base.path());
        let mut record = record("a", 7, Ipv4Addr::new(10, 0, 0, 9));
        record.spec.connect = (0..4_000).map(|n| format!("container-{n}").parse().unwrap()).collect();
        let directory = tree.container(&record.name);
        std::fs::create_dir_all(directory.join("rootfs")).unwrap();
        write_first(&directory, &record).unwrap();
        assert_eq!(first(&directory).unwrap(), None);
        assert_eq!(find(&tree, &record.name).unwrap().as_ref(), Some(&record));
    }

    #[test]
    fn a_full_subnet_and_a_taken_address_are_errors_that_say_so() {
        let subnet: Ipv4Net = "10.0.0.0/30".parse().unwrap();
        let gateway = Ipv4Addr::new(10, 0, 0, 1);
        let only = Ipv4Addr::new(10, 0, 0, 2);
        let records: Records = [("a".parse().unwrap(), record("a", 0, only).into())].into();
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
