//! Filling an empty root file system: from a mirror by mmdebstrap or debootstrap, or from a tarball.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use super::alpine;
use super::apt::{self, AptSource};
use super::error::{TemplateError, io_error};
use super::import::Imported;
use super::packages;
use super::record::Source;
use super::ubuntu;
use crate::engine::{Context, Host};
use crate::files::RootDir;
use crate::name::TemplateName;
use crate::run::{Invocation, RunError, Runner};
use crate::spec::{Distribution, Template};

/// A download over a slow line takes minutes; one that takes longer than this is stuck.
const TIME_LIMIT: Duration = Duration::from_secs(30 * 60);

const ETC_APT: &str = "/etc/apt";
const APT_LISTS: &str = "/var/lib/apt/lists";

/// How a tarball is compressed, and the program that tar calls for it.
fn decompressor(head: &[u8]) -> Option<&'static str> {
    let magics: [(&[u8], &str); 4] = [
        (&[0x1f, 0x8b], "gzip"),
        (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz"),
        (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
        (b"BZh", "bzip2"),
    ];
    magics.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, program)| *program)
}

/// Checks that a declaration could be built here, without building: the tools and the tarball are there.
pub(super) fn check(host: &Host, name: &TemplateName, declaration: &Template) -> Result<(), TemplateError> {
    let run = &host.run;
    present(run, "setpriv")?;
    present(run, "unshare")?;
    if declaration.distribution == Distribution::Alpine {
        alpine::check(run, name, declaration)?;
    }
    let Some(tarball) = &declaration.rootfs else {
        let keys = &host.paths.ubuntu_keyring;
        return match declaration.distribution {
            Distribution::Alpine => Ok(()),
            Distribution::Ubuntu if !keys.exists() => {
                Err(TemplateError::Keyring { distribution: Distribution::Ubuntu, path: keys.clone() })
            }
            Distribution::Debian | Distribution::Ubuntu => bootstrap_tool(run).map(drop),
        };
    };
    present(run, "tar")?;
    if let Some(program) = tarball_needs(name, tarball)? {
        present(run, program)?;
    }
    Ok(())
}

fn present(run: &Runner, program: &str) -> Result<(), RunError> {
    match run.output(&Invocation::new(program).arg("--version")) {
        Err(error @ RunError::Missing { .. }) => Err(error),
        _ => Ok(()),
    }
}

fn bootstrap_tool(run: &Runner) -> Result<Source, TemplateError> {
    if present(run, "mmdebstrap").is_ok() {
        Ok(Source::Mmdebstrap)
    } else if present(run, "debootstrap").is_ok() {
        Ok(Source::Debootstrap)
    } else {
        Err(TemplateError::NoBootstrap)
    }
}

/// The program that a tarball needs beside tar; an error where it is no tarball.
fn tarball_needs(name: &TemplateName, tarball: &Path) -> Result<Option<&'static str>, TemplateError> {
    let wrong = |why: String| TemplateError::Declaration {
        name: name.clone(),
        why,
        next: "give a .tar, .tar.gz, .tar.xz or .tar.zst of a root file system as `rootfs`".into(),
    };
    let shown = tarball.display();
    match std::fs::metadata(tarball) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(wrong(format!("the tarball {shown} is not there")));
        }
        Err(error) => return Err(io_error("read", tarball)(error)),
        Ok(metadata) if !metadata.is_file() => return Err(wrong(format!("{shown} is not a file"))),
        Ok(_) => {}
    }
    let file = std::fs::File::open(tarball).map_err(io_error("read", tarball))?;
    let mut head = Vec::new();
    file.take(512).read_to_end(&mut head).map_err(io_error("read", tarball))?;
    if let Some(program) = decompressor(&head) {
        return Ok(Some(program));
    }
    if head.get(257..262) == Some(b"ustar") {
        Ok(None)
    } else {
        Err(wrong(format!("{shown} is not a tarball")))
    }
}

/// A call that dies with us. A bootstrap that went on after we were killed would write into what the
/// next run builds under the same name; so it runs as the first process of a process namespace, which
/// the kernel ends as a whole, with mounts that nobody else sees.
pub(super) fn bound_to_us(program: &str) -> Invocation {
    Invocation::new("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--pid",
            "--kill-child",
            "--mount-proc",
            "--ipc",
            "--uts",
            "--",
        ])
        .arg(program)
        .time_limit(TIME_LIMIT)
}

/// What filled a root file system.
pub(super) struct Populated {
    /// How.
    pub(super) source: Source,
    /// The packages it was given beside those every Debian system has.
    pub(super) packages: Vec<String>,
    /// What it was imported from, where it was.
    pub(super) imported: Option<Imported>,
}

/// Fills the root file system at `rootfs`, an empty subvolume. `scratch` is for the tools' temporary files.
pub(super) fn populate(
    cx: &Context<'_>,
    name: &TemplateName,
    declaration: &Template,
    rootfs: &Path,
    scratch: &Path,
) -> Result<Populated, TemplateError> {
    if let Some(tarball) = &declaration.rootfs {
        tarball_needs(name, tarball)?;
    }
    if declaration.distribution == Distribution::Alpine {
        return alpine::populate(cx, name, declaration, rootfs, scratch, &proxies(&cx.host.run));
    }
    if let Some(tarball) = &declaration.rootfs {
        unpack(cx, name, tarball, rootfs)?;
        return Ok(Populated {
            source: Source::Tarball,
            packages: declaration.packages.clone(),
            imported: None,
        });
    }
    let packages = packages::to_install(declaration);
    let source = bootstrap_tool(&cx.host.run)?;
    let sources = match &declaration.mirror {
        _ if declaration.distribution == Distribution::Ubuntu => {
            ubuntu::sources(declaration, &cx.host.paths.ubuntu_keyring)
        }
        Some(_) => Vec::new(),
        None => host_sources(&declaration.suite),
    };
    let policy = apt_policy(&cx.host.run);
    let mut call = match source {
        Source::Debootstrap => debootstrap(declaration, &sources, &cx.host.paths.keyring, &packages, rootfs),
        _ => mmdebstrap(declaration, &sources, &policy, &packages, rootfs),
    };
    call = call.env("TMPDIR", scratch).env("DEBIAN_FRONTEND", "noninteractive");
    for (key, proxy) in proxies(&cx.host.run) {
        call = call.env(key, proxy);
    }
    let next = "see whether the mirror answers and has all the packages, or give another (`mirror`), or a tarball (`rootfs`)";
    watch(cx, name, (source.program(), &origin(declaration, &sources)), &call, next)?;
    write_apt(declaration, &sources, &policy, rootfs)
        .map_err(io_error("write apt's configuration in", rootfs))?;
    Ok(Populated { source, packages, imported: None })
}

pub(super) fn watch(
    cx: &Context<'_>,
    name: &TemplateName,
    (tool, from): (&str, &str),
    call: &Invocation,
    next: &'static str,
) -> Result<(), TemplateError> {
    let mut complaints = Vec::new();
    let report = |line: &str| {
        let text = line.strip_prefix("I: ").unwrap_or(line).trim();
        if text.is_empty() {
            return;
        }
        complain(&mut complaints, line);
        cx.progress.report(&format!("{name}: {text}"), None);
    };
    let Err(mut source) = cx.host.run.watch(call, report) else { return Ok(()) };
    // The whole call is in the log; for a reader, the tool's name and what it complained of say more
    // than its last lines, which are its own tidying up.
    if let RunError::Status { call, stderr, .. } = &mut source
        && !complaints.is_empty()
    {
        let from = complaints.len().saturating_sub(5);
        *stderr = complaints[from..].join("; ");
        tracing::info!(call, "failed");
        tool.clone_into(call);
    }
    Err(TemplateError::Populate { name: name.clone(), from: from.to_owned(), source: source.into(), next })
}

/// The addresses that packages come from, as the error names them.
fn origin(declaration: &Template, sources: &[AptSource]) -> String {
    if let Some(mirror) = &declaration.mirror {
        return mirror.clone();
    }
    let mut all: Vec<&str> = sources.iter().flat_map(|source| &source.uris).map(String::as_str).collect();
    all.sort_unstable();
    all.dedup();
    if all.is_empty() { "the distribution's own mirror".into() } else { all.join(", ") }
}

/// Keeps a line in which apt, apk or a bootstrap tool says what went wrong: `E: …`, or `Err:1 …` with the reason
/// indented below it.
fn complain(complaints: &mut Vec<String>, line: &str) {
    let text = line.trim();
    let awaits = |c: &String| c.starts_with("Err:") || c.starts_with("ERROR: unable to");
    let reason = line.starts_with("  ") && complaints.last().is_some_and(awaits);
    // What the tool's processes say of one another's end is no reason.
    let says = ["E: ", "Err:", "tar: ", "error: ", "ERROR: ", "WARNING: fetching "]
        .iter()
        .any(|start| text.starts_with(start))
        && !text.contains("failed to run")
        && !text.contains("--error-on=any");
    if (says || reason) && !complaints.iter().any(|c| c == text) {
        complaints.push(text.to_owned());
    }
}

pub(super) fn unpack(
    cx: &Context<'_>,
    name: &TemplateName,
    tarball: &Path,
    rootfs: &Path,
) -> Result<(), TemplateError> {
    cx.progress.report(&format!("{name}: unpacking {}", tarball.display()), None);
    // tar itself refuses members that are absolute or climb out by "..", and lays links out of the tree
    // only when everything else is there, so that no member is written through one. Devices are not
    // unpacked: whoever is root in a clone could open the host's.
    let call = bound_to_us("tar")
        .args([
            "--extract",
            "--numeric-owner",
            "--same-owner",
            "--preserve-permissions",
            "--delay-directory-restore",
        ])
        .args(["--xattrs", "--xattrs-include=*", "--anchored", "--exclude=dev/*", "--exclude=./dev/*"])
        .arg("--directory")
        .arg(rootfs)
        .arg("--file")
        .arg(tarball);
    let from = tarball.display().to_string();
    watch(cx, name, ("tar", &from), &call, "see whether the tarball is whole: tar --list --file FILE")?;
    let root = RootDir::open(rootfs).map_err(io_error("open", rootfs))?;
    if !root.exists("sbin/init") && !root.exists("usr/sbin/init") {
        return Err(TemplateError::Declaration {
            name: name.clone(),
            why: format!("{} has no /sbin/init, so that nothing could start from it", tarball.display()),
            next: "give a tarball whose top is the root directory of a bootable system".into(),
        });
    }
    Ok(())
}

/// The host's own sources turned to `suite`, where the host is Debian.
fn host_sources(suite: &str) -> Vec<AptSource> {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    if os_release(&release, "ID").as_deref() != Some("debian") {
        return Vec::new();
    }
    let codename = os_release(&release, "VERSION_CODENAME").unwrap_or_default();
    apt::for_suite(&apt::host_sources(Path::new(ETC_APT), Path::new(APT_LISTS)), &codename, suite)
}

/// A value of an os-release file.
pub(super) fn os_release(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned()).filter(|v| !v.is_empty())
}

fn mmdebstrap(
    declaration: &Template,
    sources: &[AptSource],
    policy: &[String],
    packages: &[String],
    rootfs: &Path,
) -> Invocation {
    let mut call = bound_to_us("mmdebstrap").args(["--mode=root", "--variant=minbase", "--format=directory"]);
    let is_file = |uri: &str| uri.starts_with("file:") || uri.starts_with("copy:");
    let from_files = declaration.mirror.as_deref().is_some_and(is_file)
        || sources.iter().flat_map(|s| &s.uris).any(|uri| is_file(uri));
    if from_files {
        // Makes a mirror on this disk visible to the apt inside.
        call = call.arg("--hook-dir=/usr/share/mmdebstrap/hooks/file-mirror-automount");
    }
    call = call
        .args(policy.iter().map(|line| format!("--aptopt={line}")))
        .arg(format!("--include={}", packages.join(",")))
        .arg(&declaration.suite)
        .arg(rootfs);
    match &declaration.mirror {
        _ if !sources.is_empty() => call.arg("-").stdin(apt::render(sources)),
        Some(mirror) => call.arg(mirror),
        None => call,
    }
}

fn debootstrap(
    declaration: &Template,
    sources: &[AptSource],
    keyring: &Path,
    packages: &[String],
    rootfs: &Path,
) -> Invocation {
    let archive = sources.iter().find(|s| s.suites.contains(&declaration.suite));
    // It knows one suite and no other: updates come by the clone's own apt, whose sources are written
    // afterwards. It gives its reasons on standard output.
    // Without its keys it would go on unverified, with a warning.
    let key = archive.and_then(|s| apt::key_files(std::slice::from_ref(s)).into_iter().next());
    let mut option = std::ffi::OsString::from("--keyring=");
    option.push(key.as_deref().unwrap_or(keyring));
    let call = bound_to_us("debootstrap")
        .args(["--variant=minbase", "--force-check-gpg"])
        .arg(option)
        .merged()
        .arg(format!("--include={}", packages.join(",")))
        .arg(&declaration.suite)
        .arg(rootfs);
    match declaration.mirror.as_ref().or_else(|| archive.and_then(|s| s.uris.first())) {
        Some(mirror) => call.arg(mirror),
        None => call,
    }
}

/// A setting of the host's apt; `None` where it is not set, or where there is no apt.
fn apt_setting(run: &Runner, option: &str) -> Option<String> {
    let answer = run.run(&Invocation::new("apt-config").args(["shell", "VALUE", option])).ok()?.text();
    let value = answer.trim().strip_prefix("VALUE='")?.strip_suffix('\'')?;
    (!value.is_empty()).then(|| value.to_owned())
}

/// The proxies of the host's apt, as variables that apt, wget and mmdebstrap all follow.
fn proxies(run: &Runner) -> Vec<(&'static str, String)> {
    [("http_proxy", "Acquire::http::Proxy"), ("https_proxy", "Acquire::https::Proxy")]
        .into_iter()
        .filter(|(variable, _)| std::env::var_os(variable).is_none())
        .filter_map(|(variable, option)| Some((variable, apt_setting(run, option)?)))
        .filter(|(_, proxy)| proxy != "DIRECT")
        .collect()
}

/// What the host's apt is told of a mirror that is a copy of some past day; its clones use the same mirror.
fn apt_policy(run: &Runner) -> Vec<String> {
    ["Acquire::Check-Valid-Until", "Acquire::Check-Date"]
        .into_iter()
        .filter(|option| apt_setting(run, &format!("{option}/b")).as_deref() == Some("false"))
        .map(|option| format!("{option} \"false\";"))
        .collect()
}

/// Writes the host's sources into the root file system, pinned to the release found there, with the keys
/// they name and the policy that goes with them.
fn write_apt(
    declaration: &Template,
    sources: &[AptSource],
    policy: &[String],
    rootfs: &Path,
) -> std::io::Result<()> {
    let root = RootDir::open(rootfs)?;
    root.remove("etc/apt/apt.conf.d/99mmdebstrap")?;
    if !policy.is_empty() {
        root.create_dir_all("etc/apt/apt.conf.d")?;
        let text = format!("// As on the host that built this template.\n{}\n", policy.join("\n"));
        root.write("etc/apt/apt.conf.d/99opdbus", text.as_bytes(), 0o644)?;
    }
    if sources.is_empty() {
        return Ok(());
    }
    let release = root.read("etc/os-release")?.unwrap_or_default();
    let codename = os_release(&String::from_utf8_lossy(&release), "VERSION_CODENAME").unwrap_or_default();
    let sources = apt::pinned(sources, &declaration.suite, &codename);
    for key in apt::key_files(&sources) {
        if root.exists(&key) {
            continue;
        }
        if let (Some(bytes), Some(directory)) = (crate::files::read_optional(&key)?, key.parent()) {
            root.create_dir_all(directory)?;
            root.write(&key, &bytes, 0o644)?;
        }
    }
    root.create_dir_all("etc/apt/sources.list.d")?;
    root.clear_dir("etc/apt/sources.list.d")?;
    root.remove("etc/apt/sources.list")?;
    let name = format!("{}.sources", declaration.distribution.to_string().to_lowercase());
    root.write(format!("etc/apt/sources.list.d/{name}"), apt::render(&sources).as_bytes(), 0o644)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;
    use crate::run::Output;
    use crate::run::recorded::Recorded;

    fn only(programs: &'static [&'static str]) -> Runner {
        Runner::new(Recorded::new(move |call| {
            let program = call.program.to_string_lossy().into_owned();
            if programs.contains(&program.as_str()) {
                Ok(Output::default())
            } else {
                Err(RunError::Missing { program })
            }
        }))
    }

    fn host(run: Runner) -> Host {
        Host { run, ..Host::default() }
    }

    #[test]
    fn ubuntu_is_not_built_without_its_keys() {
        let mut host = host(only(&["setpriv", "unshare", "mmdebstrap"]));
        host.paths.ubuntu_keyring = "/nonexistent/keys.gpg".into();
        let noble =
            Template { distribution: Distribution::Ubuntu, suite: "noble".into(), ..Template::default() };
        let error = check(&host, &name(), &noble).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/keys.gpg"), "{error}");
        assert!(error.next().unwrap().contains("ubuntu-keyring"));
        host.paths.ubuntu_keyring = "/dev/null".into();
        check(&host, &name(), &noble).unwrap();
    }

    fn name() -> TemplateName {
        "debian-base".parse().unwrap()
    }

    #[test]
    fn debootstrap_stands_in_for_mmdebstrap_and_without_both_the_way_out_is_named() {
        assert_eq!(bootstrap_tool(&only(&["mmdebstrap", "debootstrap"])).unwrap(), Source::Mmdebstrap);
        assert_eq!(bootstrap_tool(&only(&["debootstrap"])).unwrap(), Source::Debootstrap);
        let host = host(only(&["setpriv", "unshare"]));
        let error = check(&host, &name(), &Template::default()).unwrap_err();
        assert!(matches!(error, TemplateError::NoBootstrap));
        assert!(error.next().unwrap().contains("apt install mmdebstrap"));
    }

    #[test]
    fn a_tarball_that_is_none_is_refused_before_anything_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let run = host(only(&["setpriv", "unshare", "tar"]));
        let file = dir.path().join("x.tar");
        let declaration = Template { rootfs: Some(file.clone()), ..Template::default() };
        let why = |host: &Host| check(host, &name(), &declaration).unwrap_err().to_string();
        assert!(why(&run).contains("is not there"));
        std::fs::write(&file, "hello").unwrap();
        assert!(why(&run).contains("is not a tarball"));
        std::fs::write(&file, [0x28, 0xb5, 0x2f, 0xfd, 0, 0]).unwrap();
        assert_eq!(why(&run), "zstd is not installed");
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert!(why(&run).contains("is not a file"));
    }

    #[test]
    fn a_declared_mirror_goes_before_the_hosts() {
        let declaration = Template {
            mirror: Some("http://m.example/debian".into()),
            suite: "trixie".into(),
            ..Template::default()
        };
        let call = mmdebstrap(&declaration, &[], &[], &["dbus".into()], Path::new("/r")).to_string();
        assert!(call.ends_with("--include=dbus trixie /r http://m.example/debian"), "{call}");
        let call = debootstrap(&declaration, &[], Path::new("/d.gpg"), &["dbus".into()], Path::new("/r"))
            .to_string();
        assert!(call.contains("--force-check-gpg --keyring=/d.gpg "), "{call}");
        assert!(call.ends_with("--include=dbus trixie /r http://m.example/debian"), "{call}");
    }

    #[test]
    fn the_hosts_sources_are_given_whole_to_mmdebstrap_and_the_archive_to_debootstrap() {
        let source = |uri: &str, suite: &str| AptSource {
            uris: vec![uri.into()],
            suites: vec![suite.into()],
            components: vec!["main".into()],
            options: vec![("Signed-By".into(), "/k.gpg".into())],
        };
        let sources = [source("http://s.example", "stable-security"), source("http://a.example", "stable")];
        let call = mmdebstrap(&Template::default(), &sources, &[], &["dbus".into()], Path::new("/r"));
        assert!(call.to_string().ends_with("stable /r -"), "{call}");
        assert!(String::from_utf8(call.stdin).unwrap().contains("Suites: stable-security\n"));
        let call = debootstrap(
            &Template::default(),
            &sources,
            Path::new("/d.gpg"),
            &["dbus".into()],
            Path::new("/r"),
        )
        .to_string();
        assert!(call.ends_with("--keyring=/k.gpg --include=dbus stable /r http://a.example"), "{call}");
    }

    #[test]
    fn the_hosts_apt_decides_on_proxy_and_on_mirrors_of_a_past_day() {
        let run = Runner::new(Recorded::new(|call| {
            let shown = call.to_string();
            let stdout = if shown.ends_with("Acquire::http::Proxy") {
                "VALUE='http://p:3142'\n"
            } else if shown.ends_with("Check-Date/b") {
                "VALUE='false'\n"
            } else {
                ""
            };
            Ok(Output { stdout: stdout.into(), ..Output::default() })
        }));
        if std::env::var_os("http_proxy").is_none() {
            assert_eq!(proxies(&run), [("http_proxy", "http://p:3142".to_owned())]);
        }
        assert_eq!(apt_policy(&run), ["Acquire::Check-Date \"false\";"]);
        assert!(apt_policy(&only(&[])).is_empty());
    }

    #[test]
    fn of_a_failed_bootstrap_the_reason_is_kept_and_not_the_tidying_up() {
        let mut complaints = Vec::new();
        for line in [
            "I: running apt-get update...",
            "Err:1 http://m.example stable InRelease",
            "  Could not connect to m.example:80",
            "E: Some index files failed to download.",
            "E: Some index files failed to download.",
            "E: apt-get update --error-on=any -oAPT::Status-Fd=<$fd> failed",
            "I: main() received signal PIPE: waiting for setup...",
            "E: mmdebstrap failed to run",
        ] {
            complain(&mut complaints, line);
        }
        assert_eq!(
            complaints,
            [
                "Err:1 http://m.example stable InRelease",
                "Could not connect to m.example:80",
                "E: Some index files failed to download."
            ]
        );
    }

    #[test]
    fn os_release_is_read_with_and_without_quotes() {
        let text = "PRETTY_NAME=\"Debian\"\nID=debian\nVERSION_CODENAME=bookworm\nEMPTY=\n";
        assert_eq!(os_release(text, "ID").as_deref(), Some("debian"));
        assert_eq!(os_release(text, "PRETTY_NAME").as_deref(), Some("Debian"));
        assert_eq!(os_release(text, "EMPTY"), None);
    }
}
