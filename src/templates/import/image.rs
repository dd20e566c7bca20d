//! An OCI image in a tar archive: `index.json` names a manifest, the manifest a configuration and layers, each by its
//! digest. Nothing is taken whose digest was not checked.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Fail;
use super::decode::{Limited, decoded};
use super::members::{each, shown};
use super::unpack::Unpacker;
use crate::files::Summed;

/// The largest index, manifest or configuration.
const LARGEST_DOCUMENT: u64 = 4 << 20;
/// The most layers.
const MOST_LAYERS: usize = 256;
/// How deep an index may lead to another.
const DEEPEST_INDEX: usize = 3;

/// A reference to a blob.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    digest: String,
    size: u64,
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Debug, Clone, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

#[derive(Debug, Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct Config {
    architecture: String,
    os: String,
    rootfs: Layers,
}

#[derive(Debug, Deserialize)]
struct Layers {
    diff_ids: Vec<String>,
}

/// An archive, and where in it the blobs lie.
pub(super) struct Image {
    archive: File,
    files: BTreeMap<Vec<u8>, (u64, u64)>,
}

/// A part of a file.
struct Section<'f> {
    file: &'f File,
    at: u64,
    left: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let read = self.file.read_at(&mut into[..most], self.at)?;
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

/// What a name in an image's archive is without `./`.
fn plain(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"./").unwrap_or(name)
}

/// Whether an archive is an image's: it is, if besides what belongs to one nothing is in it.
pub(super) fn is_image(archive: impl Read) -> Result<bool, Fail> {
    let mut image = false;
    each(archive, |member, _| {
        let name = plain(&member.name);
        if name == b"oci-layout" || name == b"index.json" {
            image = true;
            return Ok(false);
        }
        let belongs = matches!(name, b"" | b"manifest.json" | b"repositories") || name.starts_with(b"blobs");
        Ok(belongs)
    })?;
    Ok(image)
}

/// The digest's hexadecimal digits. They become the name of a file, so they are nothing but digits.
fn digits(digest: &str) -> Result<&str, Fail> {
    let hex = digest.strip_prefix("sha256:").filter(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    });
    hex.ok_or_else(|| Fail::Refused(format!("{} is no digest by SHA-256", shown(digest.as_bytes()))))
}

impl Image {
    /// Finds what is in an archive that is not compressed.
    pub(super) fn open(mut archive: File) -> Result<Self, Fail> {
        archive.rewind()?;
        let mut files = BTreeMap::new();
        each(io::BufReader::new(&archive), |member, _| {
            if member.kind.is_file() {
                let name = plain(&member.name).to_owned();
                if files.insert(name, (member.position, member.size)).is_some() {
                    return Err(Fail::Refused(format!("{} is there twice", member.shown())));
                }
            }
            Ok(true)
        })?;
        Ok(Self { archive, files })
    }

    fn section(&self, name: &str) -> Result<Section<'_>, Fail> {
        let (at, left) = *self
            .files
            .get(name.as_bytes())
            .ok_or_else(|| Fail::Refused(format!("{} is missing", shown(name.as_bytes()))))?;
        Ok(Section { file: &self.archive, at, left })
    }

    fn blob(&self, of: &Descriptor) -> Result<Summed<Section<'_>>, Fail> {
        let section = self.section(&format!("blobs/sha256/{}", digits(&of.digest)?))?;
        if section.left != of.size {
            return Err(Fail::Refused(format!(
                "the blob {} has {} bytes and not {}",
                of.digest, section.left, of.size
            )));
        }
        Ok(Summed::new(section))
    }

    fn document<T: DeserializeOwned>(&self, of: &Descriptor, what: &str) -> Result<T, Fail> {
        let blob = self.blob(of)?;
        let (bytes, found) = read_document(blob, what)?;
        if found != digits(&of.digest)? {
            return Err(differs(&of.digest, &found));
        }
        parse(&bytes, what)
    }

    /// The manifest of the image for this machine.
    fn manifest(&self) -> Result<(Descriptor, Manifest), Fail> {
        let (bytes, _) = read_document(Summed::new(self.section("index.json")?), "index.json")?;
        let mut index: Index = parse(&bytes, "index.json")?;
        for _ in 0..DEEPEST_INDEX {
            let here = |d: &&Descriptor| {
                d.platform.as_ref().is_none_or(|p| p.os == "linux" && p.architecture == architecture())
            };
            let fitting: Vec<&Descriptor> = index.manifests.iter().filter(here).collect();
            let [one] = fitting[..] else {
                return Err(Fail::Refused(format!(
                    "it holds {} images for linux/{}, and not one",
                    fitting.len(),
                    architecture()
                )));
            };
            let one = one.clone();
            if !one.media_type.contains("image.index") && !one.media_type.contains("manifest.list") {
                let manifest = self.document(&one, "the manifest")?;
                return Ok((one, manifest));
            }
            index = self.document(&one, "the index")?;
        }
        Err(Fail::Refused("its index leads to another, and that to another".into()))
    }

    /// Writes the image's layers, in order, and gives the manifest's digest. `spool` makes a nameless file, for a layer
    /// that is checked before any of it is written.
    pub(super) fn unpack(
        &self,
        into: &mut Unpacker,
        most: u64,
        spool: &dyn Fn() -> Result<File, Fail>,
        progress: &dyn Fn(usize, usize),
    ) -> Result<String, Fail> {
        let (described, manifest) = self.manifest()?;
        let config: Config = self.document(&manifest.config, "the configuration")?;
        if config.os != "linux" || config.architecture != architecture() {
            return Err(Fail::Refused(format!(
                "it is for {}, and not for linux/{}",
                shown(format!("{}/{}", config.os, config.architecture).as_bytes()),
                architecture()
            )));
        }
        let ids = &config.rootfs.diff_ids;
        if manifest.layers.len() != ids.len() || ids.len() > MOST_LAYERS {
            return Err(Fail::Refused(format!(
                "it has {} layers, its configuration says {}, and {MOST_LAYERS} are the most",
                manifest.layers.len(),
                ids.len()
            )));
        }
        let mut left = most;
        for (number, (layer, id)) in manifest.layers.iter().zip(ids).enumerate() {
            progress(number + 1, ids.len());
            let mut file = spool()?;
            left -= self.layer(layer, id, left, &mut file)?;
            file.rewind()?;
            into.hide(io::BufReader::new(&file))?;
            file.rewind()?;
            into.unpack(io::BufReader::new(&file), true)?;
        }
        Ok(digits(&described.digest)?.to_owned())
    }

    /// Decompresses a layer, checks both its digests, and gives its size.
    fn layer(&self, of: &Descriptor, id: &str, most: u64, into: &mut File) -> Result<u64, Fail> {
        let mut blob = self.blob(of)?;
        let mut plain = Summed::new(Limited { from: decoded(&mut blob)?, left: most });
        copy(&mut plain, into, "a layer")?;
        let size = plain.size;
        let found = plain.hex();
        // What comes after the compressed data is the blob's, too.
        io::copy(&mut blob, &mut io::sink())?;
        let sum = blob.hex();
        if sum != digits(&of.digest)? {
            return Err(differs(&of.digest, &sum));
        }
        if found != digits(id)? {
            return Err(differs(id, &found));
        }
        Ok(size)
    }
}

/// Copies, and tells apart whose fault it is if that fails.
pub(super) fn copy(from: &mut impl Read, into: &mut impl io::Write, what: &str) -> Result<(), Fail> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = from.read(&mut buffer).map_err(|e| Fail::read(what, &e))?;
        if read == 0 {
            return Ok(());
        }
        into.write_all(&buffer[..read])?;
    }
}

fn differs(said: &str, found: &str) -> Fail {
    Fail::Refused(format!("the blob {} is damaged: it has the digest sha256:{found}", shown(said.as_bytes())))
}

fn read_document<R: Read>(mut from: Summed<R>, what: &str) -> Result<(Vec<u8>, String), Fail> {
    let mut bytes = Vec::new();
    let mut limited = Limited { from: &mut from, left: LARGEST_DOCUMENT };
    limited.read_to_end(&mut bytes).map_err(|e| Fail::read(what, &e))?;
    Ok((bytes, from.hex()))
}

fn parse<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, Fail> {
    serde_json::from_slice(bytes).map_err(|e| Fail::Refused(format!("{what} is not what it should be: {e}")))
}

/// This machine's processor, as images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
