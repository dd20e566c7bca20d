//! The hashes of a ledger's tree in files, beside its checkpoints, as transparency logs publish theirs
//! ([C2SP tlog-tiles](https://c2sp.org/tlog-tiles)): a tile of level 0 is 256 leaf hashes, one of the next level the roots of
//! 256 of those. A checkpoint proves that a ledger was rewritten; the tiles that lead to its root tell from which entry on.

use std::io;
use std::path::{Path, PathBuf};

use super::tree::{Hash, Tree};
use crate::files;

/// How many hashes a whole tile has.
pub const WIDTH: usize = 256;

/// Why tiles were not written.
#[derive(Debug, thiserror::Error)]
pub enum TileError {
    /// A file could not be worked on.
    #[error("cannot {verb} the tile {}: {source}", .path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is a tile of other hashes.
    #[error("the tile {} holds other hashes than those of this ledger", .path.display())]
    Differs {
        /// Which.
        path: PathBuf,
    },
}

fn failed<'p>(verb: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> TileError + 'p {
    move |source| TileError::Io { verb, path: path.to_owned(), source }
}

/// Where a whole tile is, below the directory of the checkpoints: `tile/0/x001/x234/067`.
#[must_use]
pub fn path(level: usize, index: u64) -> PathBuf {
    let mut name = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        name = format!("x{:03}/{name}", rest % 1000);
        rest /= 1000;
    }
    PathBuf::from(format!("tile/{level}/{name}"))
}

/// Where the tiles are of which not all hashes are there yet, one for each number of hashes.
fn partial(level: usize, index: u64) -> PathBuf {
    let mut path = path(level, index).into_os_string();
    path.push(".p");
    path.into()
}

/// Writes the tiles of a tree, leaf by leaf. A tile that is there is not written again; one that differs is an error.
#[derive(Debug)]
pub struct Writer {
    directory: PathBuf,
    levels: Vec<Level>,
}

#[derive(Debug, Default)]
struct Level {
    index: u64,
    hashes: Vec<u8>,
    tree: Tree,
}

impl Writer {
    /// Writes below this directory.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), levels: Vec::new() }
    }

    /// Adds the hash of a leaf.
    pub fn push(&mut self, leaf: Hash) -> Result<(), TileError> {
        let mut hash = leaf;
        for number in 0.. {
            if self.levels.len() == number {
                self.levels.push(Level::default());
            }
            let level = &mut self.levels[number];
            level.hashes.extend(hash);
            level.tree.push(hash);
            if level.tree.size() < WIDTH as u64 {
                break;
            }
            let (index, hashes) = (level.index, std::mem::take(&mut level.hashes));
            hash = std::mem::take(&mut level.tree).root();
            level.index += 1;
            self.write(&path(number, index), &hashes)?;
            // What it was while it grew is in it.
            let grown = self.directory.join(partial(number, index));
            match std::fs::remove_dir_all(&grown) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("remove", &grown)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes the tiles that are not whole.
    pub fn finish(self) -> Result<(), TileError> {
        for (number, level) in self.levels.iter().enumerate() {
            if !level.hashes.is_empty() {
                let name = level.tree.size().to_string();
                self.write(&partial(number, level.index).join(name), &level.hashes)?;
            }
        }
        Ok(())
    }

    fn write(&self, path: &Path, hashes: &[u8]) -> Result<(), TileError> {
        let path = self.directory.join(path);
        match files::read_optional(&path).map_err(failed("read", &path))? {
            Some(there) if there == hashes => return Ok(()),
            Some(_) => return Err(TileError::Differs { path }),
            None => {}
        }
        let directory = path.parent().unwrap_or(&path);
        std::fs::create_dir_all(directory).map_err(failed("make", directory))?;
        files::replace(&path, hashes, 0o644).map_err(failed("write", &path))
    }
}

/// Reads the leaf hashes of tiles, in order, one tile at a time.
#[derive(Debug)]
pub struct Leaves {
    directory: PathBuf,
    next: u64,
    tile: Vec<u8>,
}

impl Leaves {
    /// Reads those below this directory; `None` where there are none.
    #[must_use]
    pub fn below(directory: &Path) -> Option<Self> {
        directory.join("tile/0").is_dir().then(|| Self {
            directory: directory.to_owned(),
            next: 0,
            tile: Vec::new(),
        })
    }

    /// The longest tile of this number that is there.
    fn read(&self, index: u64) -> Option<Vec<u8>> {
        if let Ok(whole) = std::fs::read(self.directory.join(path(0, index))) {
            return Some(whole);
        }
        let directory = self.directory.join(partial(0, index));
        let widths = std::fs::read_dir(&directory)
            .ok()?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let widest = widths.filter_map(|name| name.parse::<usize>().ok()).max()?;
        std::fs::read(directory.join(widest.to_string())).ok()
    }
}

impl Iterator for Leaves {
    type Item = Hash;

    /// Nothing that is read here is believed: what is missing or cut off ends it, and whoever reads holds the root of
    /// what came against a checkpoint.
    fn next(&mut self) -> Option<Hash> {
        let width = WIDTH as u64;
        let at = usize::try_from(self.next % width).ok()?;
        if at == 0 {
            self.tile = self.read(self.next / width)?;
        }
        let size = size_of::<Hash>();
        let hash = self.tile.get(at * size..(at + 1) * size)?;
        self.next += 1;
        hash.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tree::leaf;

    fn write(directory: &Path, leaves: impl Iterator<Item = u64>) -> Result<(), TileError> {
        let mut writer = Writer::new(directory);
        for number in leaves {
            writer.push(leaf(&number.to_be_bytes()))?;
        }
        writer.finish()
    }

    #[test]
    fn paths_are_those_of_the_standard() {
        assert_eq!(path(0, 0), Path::new("tile/0/000"));
        assert_eq!(path(0, 1_234_067), Path::new("tile/0/x001/x234/067"));
        assert_eq!(path(2, 999), Path::new("tile/2/999"));
        assert_eq!(partial(1, 1000), Path::new("tile/1/x001/000.p"));
    }

    #[test]
    fn leaves_come_back_as_they_were_written_and_as_they_grew() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Leaves::below(directory.path()).is_none());
        for size in [1, 255, 256, 257, 512, 70_000] {
            write(directory.path(), 0..size).unwrap();
            let there: Vec<Hash> = Leaves::below(directory.path()).unwrap().collect();
            assert!(there.iter().copied().eq((0..size).map(|n| leaf(&n.to_be_bytes()))), "{size}");
        }
        // 70,000 leaves: 273 whole tiles, one of those of theirs, and what is left of each.
        for (file, hashes) in [
            ("tile/0/272", 256),
            ("tile/0/273.p/112", 112),
            ("tile/1/000", 256),
            ("tile/1/001.p/17", 17),
            ("tile/2/000.p/1", 1),
        ] {
            assert_eq!(std::fs::metadata(directory.path().join(file)).unwrap().len(), hashes * 32, "{file}");
        }
        assert!(!directory.path().join("tile/0/000.p").exists());
    }

    #[test]
    fn a_level_above_leads_to_the_root() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), 0..512).unwrap();
        let mut tree = Tree::default();
        for hash in std::fs::read(directory.path().join("tile/1/000.p/2")).unwrap().chunks(32) {
            tree.push(hash.try_into().unwrap());
        }
        let mut whole = Tree::default();
        (0..512_u64).for_each(|n| whole.push(leaf(&n.to_be_bytes())));
        assert_eq!(tree.root(), whole.root());
    }

    #[test]
    fn other_hashes_are_not_written_over() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), 0..300).unwrap();
        let error = write(directory.path(), 1..301).unwrap_err();
        assert!(matches!(error, TileError::Differs { .. }), "{error}");
        let there: Vec<Hash> = Leaves::below(directory.path()).unwrap().collect();
        assert_eq!(there[0], leaf(&0_u64.to_be_bytes()));
    }

    #[test]
    fn what_is_cut_off_ends_it() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), 0..300).unwrap();
        let tile = directory.path().join("tile/0/000");
        let bytes = std::fs::read(&tile).unwrap();
        std::fs::write(&tile, &bytes[..100]).unwrap();
        assert_eq!(Leaves::below(directory.path()).unwrap().count(), 3);
    }
}
