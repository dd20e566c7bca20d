//! What changed between two trees: a snapshot and what is there now, or two snapshots.
//!
//! Both trees are walked and compared by what can be seen: this is right also between subvolumes that do not
//! descend from one another (a plugin that was received), where btrfs' own comparison (a send stream) calls every
//! file new, and it needs no snapshot of what is there now. What is the same inode with the same change time, which
//! nobody can set, is not looked into; of the rest, content is compared. An inode that is under another name is a
//! rename.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::{SnapshotError, io_error};
use super::walk::{Identity, Node, Tree};

/// How many bytes of content are compared before the times are believed.
const READ_MOST: u64 = 8 << 30;
/// How many of each kind are remembered; those beyond are counted.
const REMEMBER_MOST: usize = 500_000;

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// It was not there before.
    Added,
    /// It is not there any more.
    Removed,
    /// It is different.
    Changed,
    /// It has another name, and may be different, too.
    Renamed,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// What happened.
    pub what: What,
    /// To which path; bytes that are not UTF-8 are replaced.
    pub path: String,
    /// Under which path it was before, where it has another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// In which ways it is different: type, content, target, mode, owner, time, attributes, device.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub how: Vec<String>,
}

/// All differences.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Differences {
    /// The first of them, by path.
    pub changes: Vec<Difference>,
    /// How many paths were added.
    pub added: usize,
    /// How many were removed.
    pub removed: usize,
    /// How many are different.
    pub changed: usize,
    /// How many have another name.
    pub renamed: usize,
    /// How many differences are not among `changes`.
    pub left_out: usize,
    /// Paths that could not be looked at, with the reason; the first few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
}

struct Comparison {
    old: Tree,
    new: Tree,
    added: Vec<Node>,
    removed: Vec<Node>,
    changes: Vec<Difference>,
    /// What was found beyond what is remembered.
    beyond: [usize; 2],
    unread: Vec<String>,
    read: u64,
}

/// Compares the tree at `old` with that at `new`; gives the first `limit` differences and counts the rest.
pub fn compare(old: &Path, new: &Path, limit: usize) -> Result<Differences, SnapshotError> {
    let open = |path| Tree::open(path).map_err(io_error("open", path));
    let mut comparison = Comparison {
        old: open(old)?,
        new: open(new)?,
        added: Vec::new(),
        removed: Vec::new(),
        changes: Vec::new(),
        beyond: [0; 2],
        unread: Vec::new(),
        read: 0,
    };
    comparison.walk();
    comparison.pair();
    Ok(comparison.finish(limit))
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

impl Comparison {
    fn unreadable(&mut self, path: &Path, error: &std::io::Error) {
        if self.unread.len() < 20 {
            self.unread.push(format!("{}: {error}", path.display()));
        }
    }

    /// Walks the directories that are in both.
    fn walk(&mut self) {
        let mut both = vec![PathBuf::new()];
        while let Some(directory) = both.pop() {
            let (old, new) = match (self.old.list(&directory), self.new.list(&directory)) {
                (Ok(old), Ok(new)) => (old, new),
                (Err(error), _) | (_, Err(error)) => {
                    self.unreadable(&directory, &error);
                    continue;
                }
            };
            let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
            loop {
                let order = match (old.peek(), new.peek()) {
                    (None, None) => break,
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (Some(a), Some(b)) => a.0.cmp(&b.0),
                };
                let before = if order == Ordering::Greater { None } else { old.next() };
                let after = if order == Ordering::Less { None } else { new.next() };
                match (before, after) {
                    (Some((_, before)), Some((_, after))) => {
                        if before.is_directory() && after.is_directory() {
                            both.push(after.path.clone());
                        } else if before.is_directory() {
                            self.one_sided(before.clone(), false, true);
                        } else if after.is_directory() {
                            self.one_sided(after.clone(), true, true);
                        }
                        self.same_name(&before, &after);
                    }
                    (Some((_, node)), None) => self.one_sided(node, false, false),
                    (None, Some((_, node))) => self.one_sided(node, true, false),
                    (None, None) => break,
                }
            }
        }
    }

    /// Everything from `node` down is in one of the trees alone; `below`: without itself.
    fn one_sided(&mut self, node: Node, is_new: bool, below: bool) {
        let mut left = vec![(node, below)];
        while let Some((node, skip)) = left.pop() {
            if node.is_directory() {
                let listed = if is_new { self.new.list(&node.path) } else { self.old.list(&node.path) };
                match listed {
                    Ok(nodes) => left.extend(nodes.into_iter().map(|(_, node)| (node, false))),
                    Err(error) => self.unreadable(&node.path, &error),
                }
            }
            if skip {
                continue;
            }
            let list = if is_new { &mut self.added } else { &mut self.removed };
            if list.len() < REMEMBER_MOST {
                list.push(node);
            } else {
                self.beyond[usize::from(is_new)] += 1;
            }
        }
    }

    fn same_name(&mut self, before: &Node, after: &Node) {
        let how = self.how(before, after);
        if !how.is_empty() {
            self.changes.push(Difference {
                what: What::Changed,
                path: shown(&after.path),
                from: None,
                how: how.into_iter().map(str::to_owned).collect(),
            });
        }
    }

    /// In which ways two nodes differ.
    fn how(&mut self, before: &Node, after: &Node) -> Vec<&'static str> {
        if before.untouched(after) {
            return Vec::new();
        }
        if before.kind() != after.kind() || before.is_directory() != after.is_directory() {
            return vec!["type"];
        }
        // Of a subvolume inside, a snapshot has only the name.
        if after.kind() == FileType::Directory && !after.is_directory() {
            return Vec::new();
        }
        let mut how = Vec::new();
        match after.kind() {
            FileType::RegularFile => match self.same_content(before, after) {
                Ok(true) if before.modified() != after.modified() => how.push("time"),
                Ok(true) => {}
                Ok(false) => how.push("content"),
                Err(error) => self.unreadable(&after.path, &error),
            },
            FileType::Symlink => match (self.old.target(&before.path), self.new.target(&after.path)) {
                (Ok(a), Ok(b)) if a != b => how.push("target"),
                (Ok(_), Ok(_)) => {}
                (Err(error), _) | (_, Err(error)) => self.unreadable(&after.path, &error),
            },
            FileType::CharacterDevice | FileType::BlockDevice if before.device() != after.device() => {
                how.push("device");
            }
            _ => {}
        }
        if before.mode() != after.mode() {
            how.push("mode");
        }
        if before.owner() != after.owner() {
            how.push("owner");
        }
        match (self.old.attributes(&before.path), self.new.attributes(&after.path)) {
            (Ok(a), Ok(b)) if a != b => how.push("attributes"),
            (Ok(_), Ok(_)) => {}
            (Err(error), _) | (_, Err(error)) => self.unreadable(&after.path, &error),
        }
        how
    }

    fn same_content(&mut self, before: &Node, after: &Node) -> std::io::Result<bool> {
        if before.size() != after.size() {
            return Ok(false);
        }
        if self.read > READ_MOST {
            return Ok(before.modified() == after.modified());
        }
        let (mut a, mut b) = (self.old.file(&before.path)?, self.new.file(&after.path)?);
        let (mut one, mut other) = (vec![0; 1 << 17], vec![0; 1 << 17]);
        loop {
            let length = fill(&mut a, &mut one)?;
            if length != fill(&mut b, &mut other)? || one[..length] != other[..length] {
                return Ok(false);
            }
            if length == 0 {
                return Ok(true);
            }
            self.read += length as u64;
        }
    }

    /// Finds what was removed under one name and added under another.
    fn pair(&mut self) {
        let mut gone: HashMap<Identity, Node> =
            std::mem::take(&mut self.removed).into_iter().map(|node| (node.identity(), node)).collect();
        let mut moved: Vec<(Node, Node)> = Vec::new();
        for node in std::mem::take(&mut self.added) {
            match gone.remove(&node.identity()) {
                Some(before) if before.kind() == node.kind() => moved.push((before, node)),
                Some(before) => {
                    gone.insert(before.identity(), before);
                    self.added.push(node);
                }
                None => self.added.push(node),
            }
        }
        self.removed = gone.into_values().collect();
        let directories: HashMap<PathBuf, PathBuf> = moved
            .iter()
            .filter(|(before, _)| before.is_directory())
            .map(|(before, after)| (before.path.clone(), after.path.clone()))
            .collect();
        for (before, after) in moved {
            let how = self.how(&before, &after);
            // What only moved along with its directory is not a difference of its own.
            let along = before.path.file_name() == after.path.file_name()
                && before.path.parent().and_then(|p| directories.get(p)).map(PathBuf::as_path)
                    == after.path.parent();
            if along && how.is_empty() {
                continue;
            }
            self.changes.push(Difference {
                what: What::Renamed,
                path: shown(&after.path),
                from: Some(shown(&before.path)),
                how: how.into_iter().map(str::to_owned).collect(),
            });
        }
    }

    fn finish(self, limit: usize) -> Differences {
        let mut changes = self.changes;
        let one =
            |what, node: &Node| Difference { what, path: shown(&node.path), from: None, how: Vec::new() };
        changes.extend(self.added.iter().map(|node| one(What::Added, node)));
        changes.extend(self.removed.iter().map(|node| one(What::Removed, node)));
        changes.sort_by(|a, b| (&a.path, a.what).cmp(&(&b.path, b.what)));
        let count = |what| changes.iter().filter(|change| change.what == what).count();
        let [removed, added] = self.beyond;
        let mut all = Differences {
            added: count(What::Added) + added,
            removed: count(What::Removed) + removed,
            changed: count(What::Changed),
            renamed: count(What::Renamed),
            unread: self.unread,
            ..Differences::default()
        };
        changes.truncate(limit);
        all.left_out = all.added + all.removed + all.changed + all.renamed - changes.len();
        all.changes = changes;
        all
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match from.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn words(old: &Path, new: &Path) -> Vec<String> {
        let all = compare(old, new, 100).unwrap();
        assert!(all.unread.is_empty(), "{all:?}");
        all.changes
            .iter()
            .map(|d| {
                let from = d.from.as_ref().map(|f| format!(" from {f}")).unwrap_or_default();
                format!("{:?} {}{from} {}", d.what, d.path, d.how.join(",")).trim_end().to_owned()
            })
            .collect()
    }

    #[test]
    fn trees_that_do_not_descend_from_one_another_are_compared_by_what_is_in_them() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        for tree in [&old, &new] {
            std::fs::create_dir_all(tree.join("d/e")).unwrap();
            for (name, text) in [("same", "x"), ("content", "1"), ("longer", "1"), ("d/e/mode", "x")] {
                std::fs::write(tree.join(name), text).unwrap();
                let file = std::fs::File::options().write(true).open(tree.join(name)).unwrap();
                file.set_modified(std::time::UNIX_EPOCH).unwrap();
            }
            symlink("same", tree.join("link")).unwrap();
        }
        assert_eq!(words(&old, &new), Vec::<String>::new());
        std::fs::write(new.join("content"), "2").unwrap();
        std::fs::write(new.join("longer"), "11").unwrap();
        std::fs::set_permissions(new.join("d/e/mode"), PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::remove_file(new.join("link")).unwrap();
        symlink("/etc/passwd", new.join("link")).unwrap();
        std::fs::create_dir(new.join("added")).unwrap();
        std::fs::write(new.join("added/f"), "").unwrap();
        std::fs::remove_file(new.join("same")).unwrap();
        std::fs::create_dir(new.join("same")).unwrap();
        assert_eq!(
            words(&old, &new),
            [
                "Added added",
                "Added added/f",
                "Changed content content",
                "Changed d/e/mode mode",
                "Changed link target",
                "Changed longer content",
                "Changed same type",
            ]
        );
    }

    #[test]
    fn what_is_beyond_the_limit_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        std::fs::create_dir(&old).unwrap();
        std::fs::create_dir(&new).unwrap();
        for n in 0..10 {
            std::fs::write(new.join(format!("f{n}")), "").unwrap();
        }
        let all = compare(&old, &new, 3).unwrap();
        assert_eq!((all.changes.len(), all.added, all.left_out), (3, 10, 7));
    }
}
