//! What was learnt of services' interfaces, kept between runs: one file a service, valid as long as the same process
//! serves it. Which objects a service has is never kept: that changes while it runs. A file that is damaged, or of
//! another process, is as none.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::model::{Identity, Interfaces};
use crate::paths::Tree;

/// The format of a file.
const FORMAT: u32 = 1;
/// How many services are remembered.
const FILES: usize = 256;
/// How large a file may be, in bytes.
const LARGEST: u64 = 1 << 20;
/// How long a service's name may be for it to be remembered: the name is the file's.
const NAME: usize = 150;

/// A directory of such files.
#[derive(Debug, Clone)]
pub struct Cache {
    directory: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct File<I> {
    format: u32,
    identity: Identity,
    interfaces: I,
}

impl Cache {
    /// That of a host.
    #[must_use]
    pub fn of(tree: &Tree) -> Self {
        Self { directory: tree.join("@cache/introspection") }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        // A connection's own name means another one after each boot.
        let fits = name.len() <= NAME
            && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        fits.then(|| self.directory.join(format!("{name}.json")))
    }

    /// What is remembered of a service whose process is this one.
    #[must_use]
    pub fn load(&self, name: &str, identity: &Identity) -> Option<Interfaces> {
        let path = self.path(name)?;
        if std::fs::symlink_metadata(&path).ok()?.len() > LARGEST {
            return None;
        }
        let file: File<Interfaces> = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        (file.format == FORMAT && file.identity == *identity).then_some(file.interfaces)
    }

    /// Remembers what was learnt of a service, besides what is known of the same process already. Gives all of it. What
    /// cannot be written is not remembered, and nothing else is the matter.
    pub fn learn(&self, name: &str, identity: &Identity, learnt: &Interfaces) -> Interfaces {
        let known = self.load(name, identity);
        let mut all = known.clone().unwrap_or_default();
        all.extend(learnt.iter().map(|(name, interface)| (name.clone(), interface.clone())));
        if known.as_ref() != Some(&all)
            && let Some(path) = self.path(name)
            && let Err(error) = self.write(&path, identity, &all)
        {
            tracing::debug!("{name} is not remembered: {error}");
        }
        all
    }

    /// By renaming, and without waiting for the disk: what a crash damages is learnt again.
    fn write(&self, path: &Path, identity: &Identity, interfaces: &Interfaces) -> std::io::Result<()> {
        let file = File { format: FORMAT, identity: identity.clone(), interfaces };
        let text = serde_json::to_vec(&file)?;
        if text.len() as u64 > LARGEST {
            return Err(std::io::Error::other("it is too large"));
        }
        // Not its parents: where there is no subvolume @cache, nothing is remembered.
        match std::fs::create_dir(&self.directory) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let prefix = format!(".opdbus-new-{}-", path.file_name().unwrap_or_default().to_string_lossy());
        let mut new = tempfile::Builder::new().prefix(&prefix).tempfile_in(&self.directory)?;
        new.write_all(&text)?;
        new.persist(path).map_err(|error| error.error)?;
        self.make_room()
    }

    /// Forgets the services that were learnt longest ago.
    fn make_room(&self) -> std::io::Result<()> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|e| e == "json") {
                files.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        files.sort();
        for (_, path) in files.iter().take(files.len().saturating_sub(FILES)) {
            std::fs::remove_file(path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{Interface, Method};
    use super::*;

    fn identity() -> Identity {
        Identity { boot: "b".into(), pid: 7, started: 9, program: (1, 2, 3, 4) }
    }

    fn interfaces(names: &[&str]) -> Interfaces {
        let interface =
            Interface { methods: [("M".to_owned(), Method::default())].into(), ..Interface::default() };
        names.iter().map(|name| ((*name).to_owned(), interface.clone())).collect()
    }

    fn cache() -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("@cache")).unwrap();
        let cache = Cache::of(&Tree::new(dir.path()));
        (dir, cache)
    }

    #[test]
    fn what_was_learnt_of_a_process_is_known_and_adds_up() {
        let (_dir, cache) = cache();
        assert_eq!(cache.load("org.example.A", &identity()), None);
        cache.learn("org.example.A", &identity(), &interfaces(&["a.b"]));
        assert_eq!(
            cache.learn("org.example.A", &identity(), &interfaces(&["a.c"])),
            interfaces(&["a.b", "a.c"])
        );
        assert_eq!(cache.load("org.example.A", &identity()), Some(interfaces(&["a.b", "a.c"])));
    }

    #[test]
    fn another_process_another_program_or_another_boot_knows_nothing() {
        let (_dir, cache) = cache();
        cache.learn("org.example.A", &identity(), &interfaces(&["a.b"]));
        for other in [
            Identity { boot: "c".into(), ..identity() },
            Identity { pid: 8, ..identity() },
            Identity { started: 10, ..identity() },
            Identity { program: (9, 2, 3, 4), ..identity() },
            Identity { program: (1, 9, 3, 4), ..identity() },
            Identity { program: (1, 2, 9, 4), ..identity() },
            Identity { program: (1, 2, 3, 9), ..identity() },
        ] {
            assert_eq!(cache.load("org.example.A", &other), None, "{other:?}");
        }
        let restarted = Identity { started: 10, ..identity() };
        assert_eq!(cache.learn("org.example.A", &restarted, &interfaces(&["a.c"])), interfaces(&["a.c"]));
        assert_eq!(cache.load("org.example.A", &identity()), None, "and the old one is forgotten");
    }

    #[test]
    fn what_is_damaged_or_too_large_or_of_another_format_is_as_nothing() {
        let (_dir, cache) = cache();
        cache.learn("org.example.A", &identity(), &interfaces(&["a.b"]));
        let path = cache.path("org.example.A").unwrap();
        let whole = std::fs::read_to_string(&path).unwrap();
        let large = format!("{whole}{}", " ".repeat(1 << 20));
        for text in
            ["", "{", &whole[..whole.len() / 2], &whole.replacen("\"format\":1", "\"format\":2", 1), &large]
        {
            std::fs::write(&path, text).unwrap();
            assert_eq!(cache.load("org.example.A", &identity()), None);
        }
        cache.learn("org.example.A", &identity(), &interfaces(&["a.c"]));
        assert_eq!(cache.load("org.example.A", &identity()), Some(interfaces(&["a.c"])));
    }

    #[test]
    fn no_more_than_so_many_are_kept_and_names_stay_in_the_directory() {
        let (dir, cache) = cache();
        for n in 0..FILES + 20 {
            cache.learn(&format!("org.example.A{n}"), &identity(), &interfaces(&["a.b"]));
        }
        assert_eq!(std::fs::read_dir(&cache.directory).unwrap().count(), FILES);
        let long = "a.".repeat(120) + "a";
        for name in ["../x", ".x", ":1.5", "a/b", long.as_str()] {
            assert_eq!(cache.learn(name, &identity(), &interfaces(&["a.b"])), interfaces(&["a.b"]));
            assert_eq!(cache.load(name, &identity()), None, "{name}");
        }
        assert_eq!(std::fs::read_dir(&cache.directory).unwrap().count(), FILES);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn without_a_subvolume_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::of(&Tree::new(dir.path()));
        assert_eq!(cache.learn("org.example.A", &identity(), &interfaces(&["a.b"])), interfaces(&["a.b"]));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
