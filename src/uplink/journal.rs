//! The journal of a move: one file that says what was before, written and flushed before anything is changed. With it,
//! whoever comes next (the unit that rolls back, the next boot) puts everything back.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::UplinkError;
use super::kernel::{Address, Route};
use super::plan::File;
use crate::files;
use crate::mac::MacAddr;

/// How far a move is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Things are being moved.
    Preparing,
    /// All is moved and was looked at; it is to be confirmed.
    Applied,
    /// Somebody confirmed that they still reach the host.
    Confirmed,
    /// All is being put back.
    Restoring,
}

/// Who configures the interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Manager {
    /// systemd-networkd, also with what netplan wrote for it.
    Networkd,
    /// ifupdown.
    Ifupdown {
        /// Whether the address is by DHCP.
        dhcp: bool,
    },
    /// `NetworkManager`.
    #[serde(rename = "network-manager")]
    NetworkManager {
        /// The identity of the card's profile.
        profile: String,
    },
}

impl std::fmt::Display for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Networkd => "systemd-networkd",
            Self::Ifupdown { .. } => "ifupdown",
            Self::NetworkManager { .. } => "NetworkManager",
        })
    }
}

/// A file as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// Its copy, beside the journal.
    pub copy: String,
    /// Its mode.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// A file that is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The file.
    pub path: PathBuf,
    /// What it was; none where it was not there.
    pub before: Option<Before>,
    /// What it is in the meantime.
    pub after: String,
    /// Its mode where it was not there before.
    #[serde(default = "readable")]
    pub mode: u32,
}

/// The mode of what everybody may read.
fn readable() -> u32 {
    0o644
}

/// A move.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// The version of this file.
    pub version: u32,
    /// How far it is.
    pub phase: Phase,
    /// The interface.
    pub nic: String,
    /// The bridge.
    pub bridge: String,
    /// The interface's Ethernet address.
    pub mac: MacAddr,
    /// Who configures it.
    pub manager: Manager,
    /// The boot in which it was made: the kernel forgets the rest when it ends.
    pub boot: String,
    /// When it is put back unless confirmed, in seconds since that boot.
    pub deadline: f64,
    /// How many seconds there are for that.
    pub within: u64,
    /// The files.
    pub files: Vec<Change>,
    /// A file that the next boot forgets, by which the manager had the interface: it needs it again for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volatile: Option<File>,
    /// Whether the bridge's own interface was up.
    pub bridge_up: bool,
    /// The addresses that were on the interface.
    pub addresses: Vec<Address>,
    /// The routes that led through it.
    pub routes: Vec<Route>,
}

/// Where the journal is.
#[derive(Debug, Clone)]
pub struct Store(pub PathBuf);

impl Store {
    fn file(&self) -> PathBuf {
        self.0.join("transaction.json")
    }

    /// The journal; none where nothing is moved.
    pub fn load(&self) -> Result<Option<Journal>, UplinkError> {
        let path = self.file();
        let failed = |source| UplinkError::File { verb: "read", path: path.clone(), source };
        let Some(bytes) = files::read_optional(&path).map_err(failed)? else { return Ok(None) };
        let wrong = |why: String| UplinkError::Journal { path: path.clone(), why };
        let journal: Journal = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        if journal.version != 1 {
            return Err(wrong(format!("it is of version {}", journal.version)));
        }
        Ok(Some(journal))
    }

    /// Writes it, on disk when this returns.
    pub fn save(&self, journal: &Journal) -> Result<(), UplinkError> {
        let path = self.file();
        let text = serde_json::to_vec_pretty(journal)
            .map_err(|error| UplinkError::Journal { path: path.clone(), why: error.to_string() })?;
        files::replace(&path, &text, 0o600).map_err(|source| UplinkError::File {
            verb: "write",
            path,
            source,
        })
    }

    /// Begins one: copies of the files as they are, then the journal. Nothing else is changed.
    pub fn begin(&self, mut journal: Journal) -> Result<Journal, UplinkError> {
        self.make()?;
        for (number, change) in journal.files.iter_mut().enumerate() {
            let failed = |source| UplinkError::File { verb: "copy", path: change.path.clone(), source };
            let Some(bytes) = files::read_optional(&change.path).map_err(failed)? else { continue };
            let meta = std::fs::metadata(&change.path).map_err(failed)?;
            let copy = format!("before-{number}");
            files::replace(&self.0.join(&copy), &bytes, 0o600).map_err(failed)?;
            change.before = Some(Before {
                copy,
                mode: meta.permissions().mode() & 0o7777,
                uid: meta.uid(),
                gid: meta.gid(),
            });
        }
        self.save(&journal)?;
        Ok(journal)
    }

    fn make(&self) -> Result<(), UplinkError> {
        let failed = |source| UplinkError::File { verb: "make", path: self.0.clone(), source };
        std::fs::create_dir_all(&self.0).map_err(failed)?;
        // Each directory on the way may be new.
        for directory in self.0.ancestors().take(3).filter(|path| !path.as_os_str().is_empty()) {
            files::sync_directory(directory).map_err(failed)?;
        }
        Ok(())
    }

    /// Ends it: nothing is moved any more. The journal goes first.
    pub fn end(&self, journal: &Journal) -> Result<(), UplinkError> {
        let remove = |path: PathBuf| match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(UplinkError::File { verb: "remove", path, source })
            }
            _ => Ok(()),
        };
        remove(self.file())?;
        files::sync_directory(&self.0).map_err(|source| UplinkError::File {
            verb: "flush",
            path: self.0.clone(),
            source,
        })?;
        let mut copies = journal.files.iter().filter_map(|change| change.before.as_ref());
        copies.try_for_each(|before| remove(self.0.join(&before.copy)))?;
        // Where something was kept for the admin, it stays.
        if std::fs::remove_dir(&self.0).is_ok()
            && let Some(above) = self.0.parent()
        {
            let _ = std::fs::remove_dir(above);
        }
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8], mode: u32, owner: Option<(u32, u32)>) -> Result<(), UplinkError> {
    let failed = |source| UplinkError::File { verb: "write", path: path.to_owned(), source };
    files::replace(path, bytes, mode).map_err(failed)?;
    let Some((uid, gid)) = owner else { return Ok(()) };
    let meta = std::fs::metadata(path).map_err(failed)?;
    if (meta.uid(), meta.gid()) != (uid, gid) {
        chown(path, Some(uid), Some(gid)).map_err(failed)?;
        // The kernel takes bits of the mode away with the owner.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    }
    Ok(())
}

fn has_mode_of(path: &Path, b: &Before) -> std::io::Result<bool> {
    let meta = std::fs::metadata(path)?;
    Ok((meta.permissions().mode() & 0o7777, meta.uid(), meta.gid()) == (b.mode, b.uid, b.gid))
}

/// Writes the files as they shall be.
pub fn put(journal: &Journal) -> Result<(), UplinkError> {
    journal.files.iter().try_for_each(|change| match &change.before {
        Some(b) => write(&change.path, change.after.as_bytes(), b.mode, Some((b.uid, b.gid))),
        None => write(&change.path, change.after.as_bytes(), change.mode, None),
    })
}

/// Puts the files back as they were, byte for byte. What somebody else wrote there meanwhile is kept beside the journal.
/// Gives where.
pub fn put_back(store: &Store, journal: &Journal) -> Result<Vec<PathBuf>, UplinkError> {
    let mut kept = Vec::new();
    for change in &journal.files {
        let path = &change.path;
        let failed = |source| UplinkError::File { verb: "restore", path: path.clone(), source };
        let there = files::read_optional(path).map_err(failed)?;
        let copy = |b: &Before| std::fs::read(store.0.join(&b.copy)).map_err(failed);
        let before = change.before.as_ref().map(copy).transpose()?;
        let edited =
            there.as_ref().filter(|t| t.as_slice() != change.after.as_bytes() && before.as_ref() != Some(t));
        if let Some(edited) = edited {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let aside = store.0.join(format!("edited-{name}"));
            files::replace(&aside, edited, 0o600).map_err(failed)?;
            kept.push(aside);
        }
        if let (Some(b), Some(bytes)) = (&change.before, before) {
            if there.as_ref() != Some(&bytes) || !has_mode_of(path, b).map_err(failed)? {
                write(path, &bytes, b.mode, Some((b.uid, b.gid)))?;
            }
        } else if there.is_some() {
            std::fs::remove_file(path).map_err(failed)?;
            if let Some(directory) = path.parent() {
                files::sync_directory(directory).map_err(failed)?;
            }
        }
    }
    Ok(kept)
}

/// This boot, and how many seconds ago it was. A clock that somebody sets says neither.
pub fn now() -> Result<(String, f64), UplinkError> {
    let read = |path: &str| {
        std::fs::read_to_string(path).map_err(|source| UplinkError::File {
            verb: "read",
            path: path.into(),
            source,
        })
    };
    let boot = read("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
    let uptime = read("/proc/uptime")?;
    let seconds = uptime.split_whitespace().next().and_then(|text| text.parse().ok());
    let wrong = || UplinkError::Answer { call: "/proc/uptime".into(), why: uptime.clone() };
    Ok((boot, seconds.ok_or_else(wrong)?))
}

impl Journal {
    /// How many seconds are left to confirm it; none left in another boot than its own.
    #[must_use]
    pub fn left(&self, boot: &str, seconds: f64) -> f64 {
        if self.boot == boot { (self.deadline - seconds).max(0.0) } else { 0.0 }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn journal(files: &[(&Path, &str)]) -> Journal {
        Journal {
            version: 1,
            phase: Phase::Preparing,
            nic: "eth0".into(),
            bridge: "ovsbr0".into(),
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            manager: Manager::Networkd,
            boot: "a".into(),
            deadline: 100.0,
            within: 60,
            files: files
                .iter()
                .map(|(path, after)| Change {
                    path: (*path).to_owned(),
                    before: None,
                    after: (*after).into(),
                    mode: 0o644,
                })
                .collect(),
            volatile: None,
            bridge_up: false,
            addresses: Vec::new(),
            routes: Vec::new(),
        }
    }

    #[test]
    fn files_come_back_byte_for_byte_from_whatever_instant() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        let store = Store(dir.path().join("lib/uplink"));
        let bytes = b"\xff\x00 as it was\n";
        // How far `put` came: not at all, one file, all of them, and all of them again.
        for far in 0..4 {
            files::replace(&old, bytes, 0o640).unwrap();
            let begun = store.begin(journal(&[(&old, "after"), (&new, "after, too")])).unwrap();
            match far {
                0 => {}
                1 => std::fs::write(&old, "after").unwrap(),
                _ => put(&begun).unwrap(),
            }
            let read = store.load().unwrap().unwrap();
            assert_eq!(read, begun);
            assert!(put_back(&store, &read).unwrap().is_empty());
            if far == 3 {
                assert!(put_back(&store, &read).unwrap().is_empty(), "twice is as once");
            }
            assert_eq!(std::fs::read(&old).unwrap(), bytes);
            assert_eq!(std::fs::metadata(&old).unwrap().permissions().mode() & 0o7777, 0o640);
            assert!(!new.exists());
            store.end(&read).unwrap();
            assert_eq!(store.load().unwrap(), None);
            assert!(!dir.path().join("lib").exists(), "nothing is left");
        }
    }

    #[test]
    fn what_somebody_wrote_in_the_meantime_is_kept_aside() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("interfaces");
        std::fs::write(&file, "before").unwrap();
        let store = Store(dir.path().join("uplink"));
        let begun = store.begin(journal(&[(&file, "after")])).unwrap();
        std::fs::write(&file, "mine").unwrap();
        let kept = put_back(&store, &begun).unwrap();
        assert_eq!(std::fs::read_to_string(&kept[0]).unwrap(), "mine");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "before");
    }

    #[test]
    fn the_time_to_confirm_is_of_this_boot_and_of_no_other() {
        let journal = journal(&[]);
        assert!((journal.left("a", 40.0) - 60.0).abs() < 0.01);
        assert!(journal.left("a", 101.0).abs() < 0.01);
        assert!(journal.left("b", 40.0).abs() < 0.01);
    }
}
