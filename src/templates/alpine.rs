//! Alpine: the mini root file system that Alpine publishes, and what it lacks to boot in a container, by its own `apk`.
//!
//! The mini root file system comes from the mirror's `latest-releases.yaml`, over TLS, and is held to the SHA-256 there;
//! or it is a file that was declared (`rootfs`). Packages are held to the keys in it, by whatever way they come.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{TemplateError, io_error};
use super::populate::{Populated, bound_to_us, os_release, unpack, watch};
use super::record::Source;
use crate::engine::Context;
use crate::files::{self, RootDir};
use crate::name::TemplateName;
use crate::run::{Invocation, RunError, Runner};
use crate::spec::Template;

/// Where Alpine is to be had.
const MIRROR: &str = "https://dl-cdn.alpinelinux.org/alpine";
/// The flavour that holds no more than apk and busybox.
const FLAVOUR: &str = "alpine-minirootfs";
/// The list of releases is some 10 KiB, the mini root file system 4 MiB.
const LARGEST: u64 = 64 << 20;
const DOWNLOAD: Duration = Duration::from_secs(10 * 60);

/// What the mini root file system lacks to boot; what goes with it (busybox-openrc) apk adds by itself.
const BASE: [&str; 1] = ["openrc"];

/// A published file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Published {
    file: String,
    sha256: String,
}

/// The processor, as Alpine calls it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86" => "x86",
        "arm" => "armv7",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// The directory of a release on the mirror.
fn branch(suite: &str) -> String {
    match suite {
        "stable" | "latest-stable" => "latest-stable".into(),
        "edge" => "edge".into(),
        other if other.starts_with('v') => other.into(),
        other => format!("v{other}"),
    }
}

/// The directory of the release that a root file system says it is of.
fn branch_of(os_release_text: &str) -> Option<String> {
    let version = os_release(os_release_text, "VERSION_ID")?;
    if version.contains('_') {
        return Some("edge".into());
    }
    let mut parts = version.split('.');
    Some(format!("v{}.{}", parts.next()?, parts.next()?))
}

/// Finds the mini root file system in a `latest-releases.yaml`, a list of blocks of plain keys.
fn published(yaml: &str) -> Option<Published> {
    let block = yaml.split("\n-").find(|block| {
        let has = |line: &str| block.lines().any(|l| l.trim() == line);
        has(&format!("flavor: {FLAVOUR}")) && has(&format!("arch: {}", architecture()))
    })?;
    let value = |key: &str| {
        block.lines().find_map(|l| l.trim().strip_prefix(key)?.strip_prefix(": ")).map(str::to_owned)
    };
    let (file, sha256) = (value("file")?, value("sha256")?);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let fits = file.starts_with(FLAVOUR)
        && file.bytes().all(plain)
        && sha256.len() == 64
        && sha256.bytes().all(|b| b.is_ascii_hexdigit());
    fits.then_some(Published { file, sha256 })
}

fn wrong(name: &TemplateName, why: impl Into<String>, next: impl Into<String>) -> TemplateError {
    TemplateError::Declaration { name: name.clone(), why: why.into(), next: next.into() }
}

fn mirror(declaration: &Template) -> &str {
    declaration.mirror.as_deref().unwrap_or(MIRROR).trim_end_matches('/')
}

/// Checks that a declaration could be built here, without building.
pub(super) fn check(run: &Runner, name: &TemplateName, declaration: &Template) -> Result<(), TemplateError> {
    if mirror(declaration).starts_with("file:") {
        return Err(wrong(
            name,
            "apk inside the template does not see a mirror on this host's disk",
            "serve it by http, or give a complete root file system as `rootfs`",
        ));
    }
    if declaration.rootfs.is_some() {
        return Ok(());
    }
    if !mirror(declaration).starts_with("https://") {
        return Err(wrong(
            name,
            "the mini root file system, with the keys that all else is held to, would come unverified",
            "give a mirror by https, or the mini root file system as `rootfs`",
        ));
    }
    match run.output(&Invocation::new("curl").arg("--version")) {
        Err(error @ RunError::Missing { .. }) => Err(error.into()),
        _ => Ok(()),
    }
}

/// Fetches an address into a file.
fn fetch(cx: &Context<'_>, name: &TemplateName, url: &str, to: &Path) -> Result<(), TemplateError> {
    cx.progress.report(&format!("{name}: fetching {url}"), None);
    let call = Invocation::download(url, to, "https", LARGEST).time_limit(DOWNLOAD);
    cx.host.run.run(&call).map(drop).map_err(|source| TemplateError::Fetch {
        name: name.clone(),
        url: url.to_owned(),
        source,
    })
}

/// Fetches the mini root file system; gives where it lies.
fn download(
    cx: &Context<'_>,
    name: &TemplateName,
    declaration: &Template,
    scratch: &Path,
) -> Result<PathBuf, TemplateError> {
    let place = format!("{}/{}/releases/{}", mirror(declaration), branch(&declaration.suite), architecture());
    let list = scratch.join("latest-releases.yaml");
    fetch(cx, name, &format!("{place}/latest-releases.yaml"), &list)?;
    let yaml = std::fs::read_to_string(&list).map_err(io_error("read", &list))?;
    let Some(published) = published(&yaml) else {
        return Err(wrong(
            name,
            format!("{place}/latest-releases.yaml names no {FLAVOUR} for {}", architecture()),
            "see which releases the mirror has, or give the mini root file system as `rootfs`",
        ));
    };
    let file = scratch.join(&published.file);
    fetch(cx, name, &format!("{place}/{}", published.file), &file)?;
    let found = files::sha256(&file).map_err(io_error("read", &file))?;
    if found != published.sha256 {
        return Err(wrong(
            name,
            format!("{place}/{} has the SHA-256 {found} and not {}", published.file, published.sha256),
            "try again, or another mirror (`mirror`)",
        ));
    }
    Ok(file)
}

/// The packages that a root file system has, as apk notes them.
pub(super) fn installed(root: &RootDir) -> std::io::Result<std::collections::BTreeSet<String>> {
    // Until 3.22, and from 3.23 on.
    let mut all = std::collections::BTreeSet::new();
    for database in ["lib/apk/db/installed", "usr/lib/apk/db/installed"] {
        let text = root.read(database)?.unwrap_or_default();
        all.extend(
            String::from_utf8_lossy(&text).lines().filter_map(|l| l.strip_prefix("P:")).map(str::to_owned),
        );
    }
    Ok(all)
}

/// The packages to have beside those of the mini root file system.
fn to_install(declaration: &Template) -> Vec<String> {
    let utc = ["UTC", "Etc/UTC"].contains(&declaration.time_zone.as_str());
    let implied = [(!utc).then_some("tzdata"), declaration.user.as_ref().filter(|u| u.sudo).map(|_| "sudo")];
    let mut all: Vec<String> =
        BASE.into_iter().chain(implied.into_iter().flatten()).map(str::to_owned).collect();
    all.extend(declaration.packages.iter().cloned());
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|package| seen.insert(package.clone()));
    all
}

/// Fills an empty root file system.
pub(super) fn populate(
    cx: &Context<'_>,
    name: &TemplateName,
    declaration: &Template,
    rootfs: &Path,
    scratch: &Path,
    proxies: &[(&'static str, String)],
) -> Result<Populated, TemplateError> {
    let base = match &declaration.rootfs {
        Some(file) => file.clone(),
        None => download(cx, name, declaration, scratch)?,
    };
    unpack(cx, name, &base, rootfs)?;
    let root = RootDir::open(rootfs).map_err(io_error("open", rootfs))?;
    let packages = to_install(declaration);
    let prepare = || -> std::io::Result<Option<String>> {
        let release = root.read("etc/os-release")?.unwrap_or_default();
        let Some(branch) = branch_of(&String::from_utf8_lossy(&release)) else { return Ok(None) };
        let mirror = mirror(declaration);
        root.create_dir_all("etc/apk")?;
        let repositories = format!("{mirror}/{branch}/main\n{mirror}/{branch}/community\n");
        root.write("etc/apk/repositories", repositories.as_bytes(), 0o644)?;
        // To find the mirror by; it goes with all that is the host's.
        let names = files::read_optional(Path::new("/etc/resolv.conf"))?.unwrap_or_default();
        root.remove_all("etc/resolv.conf")?;
        root.write("etc/resolv.conf", &names, 0o644)?;
        Ok(Some(mirror.to_owned()))
    };
    let Some(mirror) = prepare().map_err(io_error("prepare apk in", rootfs))? else {
        return Err(wrong(
            name,
            format!("{} says in its /etc/os-release no version of Alpine", base.display()),
            "give Alpine's mini root file system as `rootfs`",
        ));
    };
    let there = installed(&root).map_err(io_error("read packages of", rootfs))?;
    let missing: Vec<&String> = packages.iter().filter(|p| !there.contains(*p)).collect();
    if !missing.is_empty() {
        // It sees none of the host's processes, and of its files what is in the root file system.
        let mut call = bound_to_us("unshare")
            .arg("--root")
            .arg(rootfs)
            .args(["/sbin/apk", "--no-cache", "--no-progress", "add"])
            .args(missing)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .merged();
        for (key, proxy) in proxies {
            call = call.env(key, proxy);
        }
        watch(
            cx,
            name,
            ("apk", &mirror),
            &call,
            "see whether the mirror answers and has all the packages, or give another (`mirror`)",
        )?;
    }
    Ok(Populated { source: Source::Apk, packages, imported: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;
    use crate::run::Output;
    use crate::run::recorded::Recorded;

    const YAML: &str = "---\n-\n  title: \"Standard\"\n  branch: v3.20\n  arch: ARCH\n  flavor: alpine-standard\n  file: alpine-standard-3.20.3-ARCH.iso\n  sha256: 81df854fbd7327d293c726b1eeeb82061d3bc8f5a86a6f77eea720f6be372261\n-\n  title: \"Mini root filesystem\"\n  desc: |\n    Minimal root filesystem.\n    For use in containers.\n  branch: v3.20\n  arch: ARCH\n  version: 3.20.3\n  flavor: alpine-minirootfs\n  file: alpine-minirootfs-3.20.3-ARCH.tar.gz\n  size: 3490290\n  sha256: ee01cd2ba7e4d0ba91abe0b1fc1b3dd5d86a0f2f8e4a9ecae4ba0cbe5b3d3f5e\n";

    #[test]
    fn the_mini_root_file_system_is_found_in_the_list_and_a_path_is_no_name() {
        let yaml = YAML.replace("ARCH", architecture());
        let found = published(&yaml).unwrap();
        assert_eq!(found.file, format!("alpine-minirootfs-3.20.3-{}.tar.gz", architecture()));
        assert!(found.sha256.starts_with("ee01cd2b"));
        assert_eq!(published(&YAML.replace("ARCH", "pdp11")), None);
        assert_eq!(
            published(&yaml.replace("file: alpine-minirootfs", "file: alpine-minirootfs/../../x")),
            None
        );
        assert_eq!(published(&yaml.replace("sha256: ee", "sha256: e")), None);
        assert_eq!(published("<html>"), None);
    }

    #[test]
    fn a_release_is_a_directory_of_the_mirror() {
        assert_eq!(
            ["stable", "3.20", "v3.20", "edge"].map(branch),
            ["latest-stable", "v3.20", "v3.20", "edge"]
        );
        assert_eq!(branch_of("ID=alpine\nVERSION_ID=3.20.3\n").as_deref(), Some("v3.20"));
        assert_eq!(branch_of("VERSION_ID=3.21.0_alpha20240923\n").as_deref(), Some("edge"));
        assert_eq!(branch_of("VERSION_ID=12\n"), None);
    }

    #[test]
    fn what_would_come_unverified_is_refused() {
        let run = Runner::new(Recorded::new(|_| Ok(Output::default())));
        let name = "alpine".parse().unwrap();
        let check = |mirror: Option<&str>, rootfs: Option<&str>| {
            let declaration = Template {
                mirror: mirror.map(str::to_owned),
                rootfs: rootfs.map(PathBuf::from),
                ..Template::default()
            };
            check(&run, &name, &declaration).map_err(|e| (e.to_string(), e.next()))
        };
        assert!(check(None, None).is_ok() && check(Some("http://m.example/alpine"), Some("/x")).is_ok());
        assert!(check(Some("http://m.example/alpine"), None).unwrap_err().0.contains("unverified"));
        assert!(check(Some("file:///srv/alpine"), Some("/x")).unwrap_err().1.unwrap().contains("serve it"));
    }

    #[test]
    fn the_base_is_what_boots_and_the_rest_as_declared() {
        let declaration = Template {
            packages: vec!["nginx".into(), "openrc".into()],
            time_zone: "Europe/Berlin".into(),
            ..Template::default()
        };
        assert_eq!(to_install(&declaration), ["openrc", "tzdata", "nginx"]);
    }
}
