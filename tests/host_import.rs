//! Root file systems from elsewhere: what is taken, what is left out, and that nothing is written outside.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a fixture that fails ends the test")]

#[path = "support/templates.rs"]
mod fixture;
mod support;

use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fixture::{Lab, edition, name, names, tar, tree, write};
use opdbus::files::RootDir;
use opdbus::templates::{self, Origin, Source, TemplateRecord};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use support::Need;

/// What is said of a name that leads through a link, or through a file.
const LEADS: &str = "leads through something that is no directory";

fn lab() -> Lab {
    let lab = Lab::new();
    lab.write_spec();
    lab
}

/// Imports by the program; its exit status, and what it said.
fn run(lab: &Lab, file: &Path, more: &[&str]) -> (i32, String) {
    let output =
        lab.program(&["import", "mine", file.to_str().unwrap(), "--json"]).args(more).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
}

/// Imports what must be taken; the template's record and root file system. The template is removed first, if it is there.
fn taken(lab: &Lab, file: &Path) -> (TemplateRecord, PathBuf) {
    if !lab.names().is_empty() {
        templates::remove(&lab.cx(), &name("mine"), false).unwrap();
    }
    let rehearsed = rehearsed(lab, file).map(|told| told.unwrap().imported);
    let (code, text) = run(lab, file, &[]);
    assert_eq!(code, 0, "{}: {text}", file.display());
    let found = templates::find(&lab.tree(), &name("mine")).unwrap();
    assert!(
        rehearsed.is_none_or(|imported| imported == found.record.imported),
        "it was said otherwise beforehand"
    );
    (found.record, found.rootfs)
}

/// What an import of an archive would take; it leaves nothing. A directory is made an archive by the program.
fn rehearsed(lab: &Lab, file: &Path) -> Option<Result<TemplateRecord, opdbus::fault::Report>> {
    let from = std::fs::File::open(file).ok().filter(|_| file.is_file())?;
    let lock = || Ok(opdbus::engine::Lock::take(&lab.cx().host.paths.lock(), std::time::Duration::ZERO)?);
    let told = templates::importable(&lab.cx(), &name("mine"), from, 8 << 30, lock);
    assert_eq!(names(&lab.tree().templates()), Vec::<String>::new(), "a rehearsal leaves nothing");
    Some(told)
}

/// Imports what must be refused, for a reason that says `why`, and leave nothing.
fn refused(lab: &Lab, file: &Path, why: &str) {
    let (code, text) = run(lab, file, &[]);
    assert!(code == 3 && text.contains(why), "{code}, and not for \"{why}\": {text}");
    if let Some(told) = rehearsed(lab, file) {
        assert!(told.unwrap_err().message.contains(why), "a rehearsal refuses it, too");
    }
    assert_eq!(names(&lab.tree().templates()), Vec::<String>::new(), "{why}");
}

fn hex(bytes: &[u8]) -> String {
    opdbus::hex::hex(&Sha256::digest(bytes))
}

/// A member of an archive, written as it is given, whatever that is.
struct Raw {
    kind: u8,
    name: String,
    link: String,
    data: Vec<u8>,
    mode: u32,
}

fn raw(kind: u8, name: &str, link: &str, data: &str) -> Raw {
    let mode = if kind == b'5' { 0o755 } else { 0o644 };
    Raw { kind, name: name.into(), link: link.into(), data: data.into(), mode }
}

fn file(name: &str, data: &str) -> Raw {
    raw(b'0', name, "", data)
}

fn directory(name: &str) -> Raw {
    raw(b'5', name, "", "")
}

/// What is in the directory outside, and in the one in it.
fn untouched() -> (Vec<String>, Vec<String>) {
    (vec!["keep".into(), "sub".into()], vec!["inner".into()])
}

/// What passes for a system.
fn system() -> Vec<Raw> {
    vec![
        file("sbin/init", "#!/bin/sh\n"),
        file("etc/os-release", "ID=debian\nVERSION_CODENAME=bookworm\n"),
        file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        file("etc/shadow", "root:*:19000:0:99999:7:::\n"),
        file("etc/group", "root:x:0:\nshadow:x:42:\n"),
        file("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
        file("etc/ssh/ssh_host_ed25519_key", "secret\n"),
        file("srv/edition", "raw"),
    ]
}

/// An archive of such members, header by header.
fn archive(members: &[Raw]) -> Vec<u8> {
    let mut all = Vec::new();
    for Raw { kind, name, link, data, mode } in members {
        let mut header = [0_u8; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, name.as_bytes());
        put(100, format!("{mode:07o}").as_bytes());
        put(108, b"0000000");
        put(116, b"0000000");
        put(124, format!("{:011o}", data.len()).as_bytes());
        put(136, b"00000000000");
        put(148, b"        ");
        put(156, &[*kind]);
        put(157, link.as_bytes());
        put(257, b"ustar\x0000");
        put(329, b"0000001");
        put(337, b"0000003");
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        all.extend_from_slice(&header);
        all.extend_from_slice(data);
        all.resize(all.len().next_multiple_of(512), 0);
    }
    all.resize(all.len() + 1024, 0);
    all
}

fn with(members: Vec<Raw>) -> Vec<u8> {
    archive(&system().into_iter().chain(members).collect::<Vec<_>>())
}

fn put(lab: &Lab, name: &str, bytes: &[u8]) -> PathBuf {
    let path = lab.fs.beside(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut child =
        Command::new("gzip").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = bytes.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output.stdout
}

#[test]
fn a_root_file_system_is_taken_however_it_is_compressed_without_identity_and_with_its_checksum() {
    host_test!(Need::Root, Need::Btrfs, Need::Program("zstd"), Need::Program("xz"));
    let lab = lab();
    let source = lab.fs.beside("tree");
    tree(&source, "one");
    let long = format!("srv/{}/{}", "d".repeat(120), "f".repeat(120));
    write(&source, &long, "long");
    write(&source, "usr/bin/su", "su");
    std::os::unix::fs::chown(source.join("usr/bin/su"), Some(0), Some(4343)).unwrap();
    std::fs::set_permissions(source.join("usr/bin/su"), std::fs::Permissions::from_mode(0o4755)).unwrap();
    std::fs::hard_link(source.join("usr/bin/su"), source.join("usr/bin/su2")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", source.join("srv/link")).unwrap();
    for (path, kind) in [("dev/null", ["c", "1", "3"]), ("srv/disk", ["b", "7", "0"])] {
        std::fs::create_dir_all(source.join(path).parent().unwrap()).unwrap();
        assert!(Command::new("mknod").arg(source.join(path)).args(kind).status().unwrap().success());
    }
    for suffix in ["tar", "tar.gz", "tar.xz", "tar.zst"] {
        let path = lab.fs.beside(&format!("rootfs.{suffix}"));
        tar(&source, &path);
        let (record, rootfs) = taken(&lab, &path);
        let imported = record.imported.clone().unwrap();
        assert_eq!(imported.sha256, hex(&std::fs::read(&path).unwrap()), "{suffix}");
        assert_eq!(
            (record.origin, record.source, record.release.as_str()),
            (Origin::User, Source::Tarball, "bookworm")
        );
        let mut left_out = imported.left_out;
        left_out.sort();
        assert_eq!(left_out, ["dev/null", "srv/disk"]);
        assert!(!rootfs.join("srv/disk").exists() && !rootfs.join("dev/null").exists());
        assert_eq!(edition(&rootfs), "one");
        assert_eq!(std::fs::read_to_string(rootfs.join(&long)).unwrap(), "long");
        let su = rootfs.join("usr/bin/su").metadata().unwrap();
        assert_eq!((su.mode() & 0o7777, su.gid(), su.nlink()), (0o4755, 4343, 2), "{suffix}");
        assert_eq!(std::fs::read_link(rootfs.join("srv/link")).unwrap(), Path::new("/etc/passwd"));
        assert_eq!(
            templates::identity_found(&RootDir::open(&rootfs).unwrap()).unwrap(),
            Vec::<String>::new()
        );
        assert!(!rootfs.join("etc/ssh/ssh_host_ed25519_key").exists());
        assert!(opdbus::storage::subvolume::is_read_only(&rootfs).unwrap());
    }
    assert_eq!(lab.names(), ["mine"]);
    let (code, text) = run(&lab, &lab.fs.beside("rootfs.tar"), &[]);
    assert!(code == 5 && text.contains("exists already"), "{text}");
}

#[test]
fn an_archive_that_would_write_elsewhere_is_refused_and_writes_nothing() {
    host_test!(Need::Root, Need::Btrfs);
    let lab = lab();
    let outside = lab.fs.beside("outside");
    write(&outside, "keep", "host");
    write(&outside, "sub/inner", "host");
    let target = outside.to_str().unwrap();
    // The archive's own archive is checked first: a plain one is taken.
    taken(&lab, &put(&lab, "good.tar", &archive(&system())));
    templates::remove(&lab.cx(), &name("mine"), false).unwrap();

    let absolute = format!("{target}/written");
    let up = format!("../../../../../../../../../..{target}/written");
    let keep = format!("{target}/keep");
    let up_to_keep = format!("../../../../../../../../../..{target}/keep");
    let long = format!("{up}\0");
    let bomb: Vec<Raw> = vec![file(&"d/".repeat(200).chars().take(99).collect::<String>(), "x")];
    let pax = |record: &str| {
        let length = (record.len()..record.len() + 9)
            .find(|n| n.to_string().len() + 1 + record.len() + 1 == *n)
            .unwrap();
        raw(b'x', "pax", "", &format!("{length} {record}\n"))
    };
    let cases: Vec<(&str, Vec<Raw>)> = vec![
        ("is an absolute name", vec![file(&absolute, "x")]),
        ("leads out by", vec![file(&up, "x")]),
        ("leads out by", vec![file("srv/../../written", "x")]),
        ("leads out by", vec![directory("..")]),
        ("leads out by", vec![raw(b'L', "././@LongLink", "", &long), file("short", "x")]),
        ("leads out by", vec![pax(&format!("path={up}")), file("short", "x")]),
        (LEADS, vec![raw(b'2', "out", target, ""), file("out/written", "x")]),
        (LEADS, vec![raw(b'2', "out", target, ""), directory("out/written")]),
        (LEADS, vec![raw(b'2', "a", ".", ""), raw(b'2', "a/out", target, ""), file("out/written", "x")]),
        (LEADS, vec![raw(b'2', "out", &up.replace("/written", ""), ""), raw(b'2', "out/written", "x", "")]),
        (LEADS, vec![file("srv/edition/x", "x")]),
        // Where the link is not the last thing on the way.
        (LEADS, vec![raw(b'2', "out", target, ""), file("out/sub/written", "x")]),
        (LEADS, vec![raw(b'2', "out", target, ""), file("out/sub/inner", "x")]),
        (LEADS, vec![raw(b'2', "out", target, ""), directory("out/sub/a/b")]),
        (LEADS, vec![raw(b'2', "out", target, ""), raw(b'3', "out/sub/inner", "", "")]),
        (LEADS, vec![raw(b'2', "out", target, ""), raw(b'1', "hard", "out/sub/inner", "")]),
        (LEADS, vec![raw(b'2', "out", target, ""), raw(b'1', "out/sub/hard", "etc/passwd", "")]),
        ("is an absolute name", vec![raw(b'1', "hard", &keep, "")]),
        ("leads out by", vec![raw(b'1', "hard", &up_to_keep, "")]),
        (LEADS, vec![raw(b'2', "out", target, ""), raw(b'1', "hard", "out/keep", "")]),
        ("is a hard link to", vec![raw(b'1', "hard", "not-there", "")]),
        ("is a hard link to", vec![directory("x"), raw(b'1', "hard", "x", "")]),
        ("has an empty name", vec![file("", "x")]),
        ("is written in a way that is not read here", vec![raw(b'S', "sparse", "", "")]),
        ("is too deep", vec![pax(&format!("path={}x", "d/".repeat(200))), bomb.into_iter().next().unwrap()]),
        ("is no name of a file", vec![pax(&format!("path={}", "n".repeat(300))), file("short", "x")]),
        ("an extended header is damaged", vec![raw(b'x', "pax", "", "99 path=x\n"), file("short", "x")]),
        ("an owner that there cannot be", vec![pax("uid=4294967295"), file("short", "x")]),
    ];
    for (why, members) in cases {
        refused(&lab, &put(&lab, "bad.tar", &with(members)), why);
        assert_eq!((names(&outside), names(&outside.join("sub"))), untouched(), "{why}");
        let keep = outside.join("keep").metadata().unwrap();
        assert_eq!(
            (keep.nlink(), std::fs::read(outside.join("keep")).unwrap()),
            (1, b"host".to_vec()),
            "{why}"
        );
    }

    // Written over a link, the link goes, and what it led to stays.
    let over = vec![
        raw(b'2', "srv/a", &keep, ""),
        file("srv/a", "inside"),
        raw(b'2', "srv/b", target, ""),
        directory("srv/b"),
        file("srv/b/written", "inside"),
        raw(b'2', "srv/c", &keep, ""),
        raw(b'1', "srv/d", "srv/c", ""),
        file("srv/d", "inside"),
    ];
    let (_, rootfs) = taken(&lab, &put(&lab, "over.tar", &with(over)));
    for written in ["srv/a", "srv/b/written", "srv/d"] {
        assert_eq!(std::fs::read_to_string(rootfs.join(written)).unwrap(), "inside");
    }
    assert_eq!(std::fs::read(outside.join("keep")).unwrap(), b"host");
    assert_eq!((names(&outside), names(&outside.join("sub"))), untouched());
}

#[test]
fn what_is_no_file_is_left_out_and_named_and_what_is_too_large_or_damaged_is_refused() {
    host_test!(Need::Root, Need::Btrfs);
    let lab = lab();
    let odd = vec![
        directory("dev"),
        raw(b'3', "dev/mem", "", ""),
        raw(b'4', "srv/disk", "", ""),
        raw(b'6', "run/initctl", "", ""),
    ];
    let (record, rootfs) = taken(&lab, &put(&lab, "odd.tar", &with(odd)));
    assert_eq!(record.imported.unwrap().left_out, ["dev/mem", "srv/disk", "run/initctl"]);
    let special = Command::new("find").arg(&rootfs).args(["-not", "-type", "f,d,l"]).output().unwrap();
    for path in String::from_utf8_lossy(&special.stdout).lines() {
        let kind = Path::new(path).symlink_metadata().unwrap().file_type();
        assert!(!kind.is_block_device() && !kind.is_char_device() && !kind.is_fifo(), "{path}");
    }
    templates::remove(&lab.cx(), &name("mine"), false).unwrap();

    // A kilobyte that becomes 64 MiB.
    let big = gzip(&with(vec![Raw { data: vec![0; 64 << 20], ..file("srv/big", "") }]));
    assert!(big.len() < 100_000);
    let big = put(&lab, "big.tar.gz", &big);
    let (code, text) = run(&lab, &big, &["--max-size", "16M"]);
    assert!(code == 3 && text.contains("larger than what is allowed"), "{text}");
    assert_eq!(run(&lab, &big, &["--max-size", "1K"]).0, 3, "also before it is decompressed");
    assert!(names(&lab.tree().templates()).is_empty());

    let good = gzip(&archive(&system()));
    refused(&lab, &put(&lab, "cut.tar.gz", &good[..good.len() - 6]), "is damaged");
    let mut wrong = good.clone();
    let at = wrong.len() - 7;
    wrong[at] ^= 1;
    refused(&lab, &put(&lab, "sum.tar.gz", &wrong), "is damaged");
    let plain = archive(&system());
    refused(&lab, &put(&lab, "cut.tar", &plain[..600]), "damaged");
    refused(&lab, &put(&lab, "text", b"no archive at all, but a text of some length"), "is damaged");
    refused(&lab, &put(&lab, "empty.tar", &archive(&[])), "no /sbin/init");
    assert_eq!(run(&lab, &lab.fs.beside("nothing"), &[]).0, 4);
    std::fs::create_dir(lab.fs.beside("directory")).unwrap();
    let (code, text) = run(&lab, &lab.fs.beside("directory"), &[]);
    assert!(code == 3 && text.contains("no OCI image layout"), "{text}");
}

/// An OCI image layout of layers, as a directory.
struct Layout(PathBuf);

impl Layout {
    fn new(path: PathBuf) -> Self {
        std::fs::create_dir_all(path.join("blobs/sha256")).unwrap();
        std::fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self(path)
    }

    fn blob(&self, bytes: &[u8], media_type: &str) -> Value {
        let digest = hex(bytes);
        std::fs::write(self.path(&digest), bytes).unwrap();
        json!({"mediaType": format!("application/vnd.oci.image.{media_type}"), "digest": format!("sha256:{digest}"), "size": bytes.len()})
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.0.join("blobs/sha256").join(digest)
    }

    /// Writes an image of layers, each as it is stored and as it is when it is decompressed; the manifest's digest.
    fn image(&self, layers: &[(Vec<u8>, Vec<u8>)]) -> String {
        let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let ids: Vec<String> = layers.iter().map(|(_, plain)| format!("sha256:{}", hex(plain))).collect();
        let config =
            json!({"architecture": arch, "os": "linux", "rootfs": {"type": "layers", "diff_ids": ids}});
        let config = self.blob(config.to_string().as_bytes(), "config.v1+json");
        let layers: Vec<Value> =
            layers.iter().map(|(stored, _)| self.blob(stored, "layer.v1.tar+gzip")).collect();
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
        let manifest = self.blob(manifest.to_string().as_bytes(), "manifest.v1+json");
        self.index(&json!([manifest]));
        manifest["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned()
    }

    fn index(&self, manifests: &Value) {
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        std::fs::write(self.0.join("index.json"), index.to_string()).unwrap();
    }
}

fn layer(members: &[Raw]) -> (Vec<u8>, Vec<u8>) {
    let plain = archive(members);
    (gzip(&plain), plain)
}

#[test]
fn an_image_is_its_layers_in_order_with_what_they_hide_from_a_layout_and_from_an_archive() {
    host_test!(Need::Root, Need::Btrfs);
    let lab = lab();
    let mut base = system();
    base.extend([
        directory("srv/opaque"),
        file("srv/opaque/old", "old"),
        file("srv/gone", "old"),
        file("srv/tree/deep/gone", "old"),
        file("srv/kept", "old"),
        file("srv/was-file", "old"),
        directory("srv/was-dir"),
        file("srv/was-dir/x", "old"),
        raw(b'2', "srv/was-link", "/etc", ""),
    ]);
    let second = [
        file("srv/edition", "second"),
        // Hidden is what lies below, also where the whiteout comes after what the layer itself has.
        file("srv/opaque/new", "new"),
        file("srv/opaque/.wh..wh..opq", ""),
        file("srv/gone", "back"),
        file("srv/.wh.gone", ""),
        file("srv/.wh.tree", ""),
        file("srv/.wh.not-there", ""),
        directory("srv/was-file"),
        file("srv/was-dir", "now a file"),
        directory("srv/was-link"),
        file("srv/was-link/x", "x"),
    ];
    let third = [file("srv/edition", "third"), file("srv/.wh.kept", "")];
    let layout = Layout::new(lab.fs.beside("layout"));
    let plain = archive(&third);
    let digest = layout.image(&[layer(&base), layer(&second), (plain.clone(), plain)]);
    let packed = lab.fs.beside("image.tar");
    let zipped = lab.fs.beside("image.tar.gz");
    tar(&layout.0, &packed);
    tar(&layout.0, &zipped);
    for path in [&layout.0, &packed, &zipped] {
        let (record, rootfs) = taken(&lab, path);
        assert_eq!((record.source, record.release.as_str()), (Source::Oci, "bookworm"));
        let imported = record.imported.unwrap();
        assert_eq!(imported.manifest.as_deref(), Some(digest.as_str()));
        if path.is_file() {
            assert_eq!(imported.sha256, hex(&std::fs::read(path).unwrap()));
        }
        let read = |path: &str| std::fs::read_to_string(rootfs.join(path)).unwrap();
        assert_eq!(
            (edition(&rootfs), read("srv/gone"), read("srv/was-dir")),
            ("third".into(), "back".into(), "now a file".into())
        );
        assert_eq!(names(&rootfs.join("srv/opaque")), ["new"]);
        assert_eq!(names(&rootfs.join("srv/was-link")), ["x"]);
        assert_eq!(
            names(&rootfs.join("srv")),
            ["edition", "gone", "opaque", "was-dir", "was-file", "was-link"]
        );
        assert_eq!(
            templates::identity_found(&RootDir::open(&rootfs).unwrap()).unwrap(),
            Vec::<String>::new()
        );
    }
}

#[test]
fn an_image_with_a_wrong_digest_or_that_hides_what_is_outside_is_refused() {
    host_test!(Need::Root, Need::Btrfs);
    let lab = lab();
    let outside = lab.fs.beside("outside");
    write(&outside, "keep", "host");
    write(&outside, "sub/inner", "host");
    let good = layer(&system());
    let other = layer(&[file("srv/edition", "other")]);
    let n = std::cell::Cell::new(0);
    let layout = |layers: &[(Vec<u8>, Vec<u8>)]| {
        n.set(n.get() + 1);
        let layout = Layout::new(lab.fs.beside(&format!("layout-{}", n.get())));
        let digest = layout.image(layers);
        (layout, digest)
    };
    let refuse = |layout: &Layout, why: &str| {
        refused(&lab, &layout.0, why);
        assert_eq!((names(&outside), names(&outside.join("sub"))), untouched(), "{why}");
    };

    // A layer that was changed, also to one of the same size.
    let (changed, _) = layout(std::slice::from_ref(&good));
    let mut bytes = good.0.clone();
    bytes[4] ^= 1; // the time in gzip's header: what is decompressed stays the same
    std::fs::write(changed.path(&hex(&good.0)), &bytes).unwrap();
    refuse(&changed, "is damaged: it has the digest");
    std::fs::write(changed.path(&hex(&good.0)), &other.0).unwrap();
    refuse(&changed, "bytes and not");
    std::fs::remove_file(changed.path(&hex(&good.0))).unwrap();
    refuse(&changed, "is missing");
    // One that decompresses to something other than the configuration says.
    let (changed, _) = layout(&[(good.0.clone(), other.1.clone())]);
    refuse(&changed, "is damaged: it has the digest");
    // Its manifest, and its configuration.
    let (changed, digest) = layout(std::slice::from_ref(&good));
    let manifest = std::fs::read_to_string(changed.path(&digest)).unwrap();
    std::fs::write(changed.path(&digest), manifest.replace("\"schemaVersion\":2", "\"schemaVersion\":3"))
        .unwrap();
    refuse(&changed, "is damaged: it has the digest");
    let (changed, digest) = layout(std::slice::from_ref(&good));
    let manifest: Value = serde_json::from_slice(&std::fs::read(changed.path(&digest)).unwrap()).unwrap();
    let config = changed.path(manifest["config"]["digest"].as_str().unwrap().trim_start_matches("sha256:"));
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("linux", "linUx")).unwrap();
    refuse(&changed, "is damaged: it has the digest");
    // Digests that lead elsewhere, and such as are no checksum.
    let (changed, _) = layout(std::slice::from_ref(&good));
    for digest in ["sha256:../../../../etc/passwd", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:"] {
        changed.index(&json!([{"digest": digest, "size": 1}]));
        refuse(&changed, "is no digest by SHA-256");
    }
    changed.index(&json!([]));
    refuse(&changed, "it holds 0 images");
    std::fs::write(changed.0.join("index.json"), "{").unwrap();
    refuse(&changed, "index.json is not what it should be");
    // An index that leads to itself never ends.
    let size = 1000;
    changed.index(&json!([{"mediaType": "application/vnd.oci.image.index.v1+json", "digest": format!("sha256:{}", "0".repeat(64)), "size": size}]));
    refuse(&changed, "is missing");

    // Layers that hide, or write, through what a lower layer left.
    let target = outside.to_str().unwrap();
    let mut linked = system();
    linked.push(raw(b'2', "out", target, ""));
    let linked = layer(&linked);
    for (why, member) in [
        (LEADS, file("out/.wh.keep", "")),
        (LEADS, file("out/sub/.wh.inner", "")),
        (LEADS, file("out/sub/.wh..wh..opq", "")),
        (LEADS, file("out/sub/written", "x")),
        (LEADS, file("out/.wh..wh..opq", "")),
        (LEADS, file("out/written", "x")),
        ("hides what is no file", file("srv/.wh...", "")),
        ("hides what is no file", file(".wh..", "")),
        ("hides what is no file", file("srv/.wh.", "")),
        ("leads out by", file("../.wh.keep", "")),
        ("is an absolute name", file(&format!("{target}/.wh.keep"), "")),
    ] {
        let (hostile, _) = layout(&[linked.clone(), layer(&[member])]);
        refuse(&hostile, why);
    }
}
