//! Templates of distributions other than the host's, and mirrors that break off, by the real program on a real btrfs.
//!
//! Where Alpine's and Ubuntu's own mirrors are not to be reached, small ones are made: of Alpine with the mini root file
//! system that Alpine publishes and one package (`tests/alpine-repository`, named by `OPDBUS_TEST_ALPINE`); of Ubuntu with
//! an archive that is signed by a key of the test's own and holds Debian's packages.

#![allow(clippy::unwrap_used, reason = "a fixture that fails ends the test")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use opdbus::files::RootDir;
use opdbus::spec::HostSpec;
use opdbus::storage::subvolume;
use opdbus::templates;
use serde_json::Value;
use sha2::{Digest, Sha256};
use support::Need;
use support::btrfs::Btrfs;

struct Lab {
    fs: Btrfs,
}

impl Lab {
    fn new() -> Self {
        let fs = Btrfs::new(2048);
        subvolume::create(&fs.path().join("@templates")).unwrap();
        let mut spec = HostSpec::default();
        fs.path().clone_into(&mut spec.btrfs.base_path);
        spec.templates.clear();
        std::fs::create_dir_all(fs.beside("etc")).unwrap();
        std::fs::write(fs.beside("etc/config.json"), serde_json::to_vec(&spec).unwrap()).unwrap();
        Self { fs }
    }
    fn program(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_opdbus-template"));
        command.args(args).env("OPDBUS_ETC", self.fs.beside("etc")).env("OPDBUS_RUN", self.fs.beside("run"));
        command
    }
    fn rootfs(&self, name: &str) -> PathBuf {
        self.fs.path().join("@templates").join(name).join("rootfs")
    }
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.fs.path().join("@templates")).unwrap();
        let mut all: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        all.sort();
        all
    }
}

fn answer(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A mirror on this machine: files of a directory, and what is not there sent on to another mirror.
struct Mirror {
    address: SocketAddr,
    /// How many packages are given before it breaks off.
    left: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
}

impl Mirror {
    fn new(root: PathBuf, onward: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (left, ended) = (Arc::new(AtomicUsize::new(usize::MAX)), Arc::new(AtomicBool::new(false)));
        let (counted, over) = (left.clone(), ended.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (root, onward, counted) = (root.clone(), onward.clone(), counted.clone());
                std::thread::spawn(move || {
                    let _ = serve(stream.ok()?, &root, onward.as_deref(), &counted);
                    Some(())
                });
            }
        });
        Self { address, left, ended }
    }
    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
    fn breaks_after(&self, packages: usize) {
        self.left.store(packages, Ordering::SeqCst);
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(
    mut stream: TcpStream,
    root: &Path,
    onward: Option<&str>,
    left: &AtomicUsize,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let path = first.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').to_owned();
    let is_package =
        [".deb", ".apk"].iter().any(|end| Path::new(&path).extension().is_some_and(|e| e == &end[1..]));
    if is_package
        && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err()
    {
        // Much is promised, and little comes.
        return stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\nConnection: close\r\n\r\nsome");
    }
    let head = match (std::fs::read(root.join(&path)), onward) {
        (Ok(body), _) => {
            let length = body.len();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
            return stream.write_all(&body);
        }
        (Err(_), Some(onward)) if is_package => format!("302 Found\r\nLocation: {onward}/{path}"),
        (Err(_), _) => "404 Not Found".into(),
    };
    write!(stream, "HTTP/1.1 {head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

#[test]
fn alpine_is_built_from_its_mini_root_file_system_and_a_mirror_that_breaks_off_leaves_nothing() {
    host_test!(Need::Root, Need::Btrfs, Need::Files("OPDBUS_TEST_ALPINE"));
    let alpine = std::env::var_os("OPDBUS_TEST_ALPINE").map(PathBuf::from).unwrap();
    let lab = Lab::new();
    let mirror = Mirror::new(alpine.clone(), None);
    let (url, mini) = (mirror.url(), alpine.join("minirootfs.tar.gz"));
    let build = |more: &[&str]| {
        let base = ["build", "small", "--json", "--distribution", "alpine", "--mirror", &url];
        let args = [&base[..], &["--rootfs", mini.to_str().unwrap()], more].concat();
        lab.program(&args).output().unwrap()
    };
    let failed = |output: &Output, why: &str| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(&url) && said.contains(why), "{said}");
        assert!(lab.names().is_empty(), "{:?}", lab.names());
    };
    mirror.breaks_after(0);
    failed(&build(&[]), "openrc");
    mirror.breaks_after(usize::MAX);
    failed(&build(&["--package", "none-such"]), "none-such");
    let record = answer(&build(&[]));
    assert_eq!(
        (record["distribution"].as_str(), record["source"].as_str(), record["architecture"].as_str()),
        (Some("alpine"), Some("apk"), Some("amd64"))
    );
    assert_eq!(record["packages"], serde_json::json!(["openrc"]));
    let rootfs = lab.rootfs("small");
    let root = RootDir::open(&rootfs).unwrap();
    assert_eq!(templates::identity_found(&root).unwrap(), Vec::<String>::new());
    for there in ["sbin/openrc", "sbin/init", "etc/opdbus/template", "var/lib/op-dbus/sockets/containers"] {
        assert!(root.exists(there), "{there}");
    }
    for none in ["etc/systemd", "etc/resolv.conf", "dev/null", "etc/runlevels/boot/networking"] {
        assert!(!root.exists(none), "{none}");
    }
    let inittab = std::fs::read_to_string(rootfs.join("etc/inittab")).unwrap();
    assert!(inittab.contains("/sbin/openrc default") && !inittab.contains("getty"));
    let repositories = std::fs::read_to_string(rootfs.join("etc/apk/repositories")).unwrap();
    assert!(repositories.starts_with(&format!("{url}/v")), "{repositories}");
}

/// Debian's archive as the host's apt has it.
fn debian() -> Option<String> {
    let list = Command::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI) $(CODENAME)"])
        .output()
        .ok()?;
    let text = String::from_utf8(list.stdout).ok()?;
    let line = text.lines().find(|l| l.ends_with(" bookworm") && l.contains("/debian"))?;
    Some(line.split(' ').next()?.trim_end_matches('/').to_owned())
}

/// An archive of Ubuntu's shape, signed by a key of its own: Debian's list of packages under the name of a release.
fn archive(lab: &Lab, debian: &str) -> (PathBuf, PathBuf) {
    let top = lab.fs.beside("archive");
    let binary = top.join("dists/noble/main/binary-amd64");
    std::fs::create_dir_all(&binary).unwrap();
    let list = binary.join("Packages.xz");
    let from = format!("{debian}/dists/bookworm/main/binary-amd64/Packages.xz");
    assert!(Command::new("curl").args(["-sSfL", "-o"]).arg(&list).arg(from).status().unwrap().success());
    let plain = Command::new("xz").args(["-dc"]).arg(&list).output().unwrap().stdout;
    assert!(plain.len() > 1 << 20);
    let line = |name: &str, bytes: &[u8]| {
        format!(" {} {} main/binary-amd64/{name}\n", opdbus::hex::hex(&Sha256::digest(bytes)), bytes.len())
    };
    let sums = line("Packages", &plain) + &line("Packages.xz", &std::fs::read(&list).unwrap());
    let release = format!(
        "Origin: Ubuntu\nLabel: Ubuntu\nSuite: noble\nCodename: noble\nDate: {}\nArchitectures: amd64\nComponents: main universe\nSHA256:\n{sums}",
        jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S UTC"),
    );
    std::fs::write(top.join("dists/noble/Release"), release).unwrap();
    let home = lab.fs.beside("gpg");
    std::fs::create_dir(&home).unwrap();
    let gpg = |args: &[&str]| {
        let mut gpg = Command::new("gpg");
        gpg.args(["--batch", "--quiet", "--homedir"]).arg(&home).args(args).stderr(Stdio::null());
        assert!(gpg.status().unwrap().success(), "{args:?}");
    };
    let keys = lab.fs.beside("keys.gpg");
    gpg(&["--passphrase", "", "--quick-generate-key", "test", "rsa3072", "sign", "never"]);
    gpg(&["--output", keys.to_str().unwrap(), "--export", "test"]);
    let (clear, signed) = (top.join("dists/noble/Release"), top.join("dists/noble/InRelease"));
    gpg(&["--output", signed.to_str().unwrap(), "--clearsign", clear.to_str().unwrap()]);
    (top, keys)
}

#[test]
fn ubuntu_is_held_to_its_own_keys_and_goes_on_after_a_mirror_that_broke_off() {
    host_test!(
        Need::Root,
        Need::Btrfs,
        Need::Program("mmdebstrap"),
        Need::Program("curl"),
        Need::Program("gpg"),
        Need::Program("apt-get")
    );
    let Some(debian) = debian().filter(|_| std::env::consts::ARCH == "x86_64") else {
        eprintln!("left out: the host's apt has no archive of Debian 12 to take packages from");
        return;
    };
    let lab = Lab::new();
    let (top, keys) = archive(&lab, &debian);
    let mirror = Mirror::new(top, Some(debian));
    let url = mirror.url();
    let build = |keys: &Path| {
        lab.program(&[
            "build",
            "noble",
            "--json",
            "--distribution",
            "ubuntu",
            "--suite",
            "noble",
            "--mirror",
            &url,
        ])
        .env("OPDBUS_UBUNTU_KEYRING", keys)
        .output()
        .unwrap()
    };
    let failed = |output: &Output, code: i32, why: &[&str]| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(why.iter().all(|why| said.contains(why)), "{said}");
        assert!(lab.names().is_empty(), "{:?}", lab.names());
    };
    failed(&build(Path::new("/nonexistent")), 7, &["/nonexistent", "ubuntu-keyring"]);
    failed(&build(Path::new("/usr/share/keyrings/debian-archive-keyring.gpg")), 1, &[&url]);
    // Breaks off when some of the packages are there.
    mirror.breaks_after(20);
    failed(&build(&keys), 1, &[&url, ".deb"]);
    // Gone altogether.
    mirror.breaks_after(usize::MAX);
    let record = answer(&build(&keys));
    assert_eq!(lab.names(), ["noble"]);
    assert_eq!(record["source"], "mmdebstrap");
    let sources =
        std::fs::read_to_string(lab.rootfs("noble").join("etc/apt/sources.list.d/ubuntu.sources")).unwrap();
    assert!(sources.contains(&url) && sources.contains("Suites: noble\n"), "{sources}");
    assert!(sources.contains(&format!("Signed-By: {}\n", keys.display())), "{sources}");
}
