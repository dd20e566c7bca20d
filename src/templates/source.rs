//! Filling an empty root file system: from a tarball, or from a mirror by mmdebstrap or debootstrap.

use std::path::Path;
use std::time::Duration;

use super::error::TemplateError;
use crate::engine::Context;
use crate::files::RootDir;
use crate::run::{Invocation, RunError};
use crate::spec::Template;

/// What a container needs to boot, to be looked at, and to be reached, and no more.
const BASE: [&str; 8] =
    ["systemd-sysv", "dbus", "iproute2", "iputils-ping", "ca-certificates", "tzdata", "procps", "netbase"];

/// A bootstrap over a slow line takes minutes; one that takes this long hangs.
const BOOTSTRAP_LIMIT: Duration = Duration::from_secs(30 * 60);

/// Fills `rootfs`, and says how.
pub(super) fn fill(
    cx: &Context<'_>,
    rootfs: &Path,
    template: &Template,
) -> Result<&'static str, TemplateError> {
    if let Some(tarball) = &template.rootfs {
        unpack(cx, rootfs, tarball)?;
        let missing = missing_packages(rootfs, &template.packages)?;
        if !missing.is_empty() {
            return Err(TemplateError::PackagesMissing { path: tarball.clone(), missing });
        }
        return Ok("tarball");
    }
    let include: Vec<&str> = BASE.into_iter().chain(template.packages.iter().map(String::as_str)).collect();
    let include = include.join(",");
    let mirror = template.mirror.clone().or_else(host_mirror);
    let mut mmdebstrap = Invocation::new("mmdebstrap")
        .args(["--mode=root", "--variant=minbase", "--format=directory"])
        // The directory is there, and is the subvolume.
        .arg("--skip=check/empty")
        .arg(format!("--include={include}"))
        .arg(&template.suite)
        .arg(rootfs);
    mmdebstrap = mmdebstrap.args(&mirror).time_limit(BOOTSTRAP_LIMIT);
    match watch(cx, &mmdebstrap) {
        Ok(()) => return Ok("mmdebstrap"),
        Err(RunError::Missing { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let debootstrap = Invocation::new("debootstrap")
        .args(["--variant=minbase"])
        .arg(format!("--include={include}"))
        .arg(&template.suite)
        .arg(rootfs)
        .args(&mirror)
        .time_limit(BOOTSTRAP_LIMIT);
    match watch(cx, &debootstrap) {
        Ok(()) => Ok("debootstrap"),
        Err(RunError::Missing { .. }) => Err(TemplateError::NoBootstrap),
        Err(error) => Err(error.into()),
    }
}

fn watch(cx: &Context<'_>, call: &Invocation) -> Result<(), RunError> {
    cx.host.run.watch(call, |line| cx.progress.report(line.trim_start_matches("I: "), None)).map(drop)
}

fn unpack(cx: &Context<'_>, rootfs: &Path, tarball: &Path) -> Result<(), TemplateError> {
    if !tarball.is_file() {
        return Err(TemplateError::NoTarball(tarball.to_owned()));
    }
    cx.progress.report(&format!("unpacking {}", tarball.display()), None);
    // GNU tar refuses members with '..' and makes absolute ones relative by itself. Device nodes would be the
    // host's devices; a container gets its own from LXC.
    let call = Invocation::new("tar")
        .arg("--extract")
        .arg("--file")
        .arg(tarball)
        .arg("--directory")
        .arg(rootfs)
        .args([
            "--numeric-owner",
            "--same-permissions",
            "--acls",
            "--xattrs",
            "--xattrs-include=*",
            "--exclude=./dev/*",
            "--exclude=dev/*",
        ])
        .time_limit(BOOTSTRAP_LIMIT);
    cx.host.run.run(&call)?;
    Ok(())
}

/// Which of the packages dpkg does not have as installed.
fn missing_packages(rootfs: &Path, packages: &[String]) -> Result<Vec<String>, TemplateError> {
    if packages.is_empty() {
        return Ok(Vec::new());
    }
    let failed = |source| TemplateError::Io { verb: "read the packages of", path: rootfs.to_owned(), source };
    let root = RootDir::open(rootfs).map_err(failed)?;
    let status = root.read("var/lib/dpkg/status").map_err(failed)?.unwrap_or_default();
    let installed = installed_packages(&String::from_utf8_lossy(&status));
    Ok(packages.iter().filter(|package| !installed.contains(package)).cloned().collect())
}

fn installed_packages(status: &str) -> Vec<String> {
    status
        .split("\n\n")
        .filter(|paragraph| paragraph.lines().any(|line| line == "Status: install ok installed"))
        .filter_map(|paragraph| paragraph.lines().find_map(|line| line.strip_prefix("Package: ")))
        .map(str::to_owned)
        .collect()
}

/// The mirror the host itself uses: the first address of its apt configuration, where it is a Debian.
fn host_mirror() -> Option<String> {
    let os_release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !os_release.lines().any(|line| line == "ID=debian") {
        return None;
    }
    let mut texts = vec![std::fs::read_to_string("/etc/apt/sources.list").unwrap_or_default()];
    let directory = std::fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten();
    let mut paths: Vec<_> = directory.map(|entry| entry.path()).collect();
    paths.sort();
    texts.extend(paths.iter().filter_map(|path| std::fs::read_to_string(path).ok()));
    texts.iter().find_map(|text| mirror_of(text))
}

/// The address of Debian's main archive in a sources file, one-line or deb822.
fn mirror_of(text: &str) -> Option<String> {
    let is_main = |rest: &str| rest.split_whitespace().any(|word| word == "main");
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("deb ") {
            let mut words =
                rest.split_whitespace().skip_while(|word| word.starts_with('[') || word.ends_with(']'));
            let (address, suite) = (words.next()?, words.next()?);
            if is_main(rest) && !suite.contains("security") && !suite.contains('/') {
                return Some(address.to_owned());
            }
        }
    }
    text.split("\n\n").find_map(|paragraph| {
        let field = |key: &str| {
            paragraph
                .lines()
                .find_map(|line| line.strip_prefix(key))
                .map(str::trim)
                .filter(|value| !value.is_empty())
        };
        let (addresses, suites) = (field("URIs:")?, field("Suites:")?);
        let usable = is_main(field("Components:")?) && !suites.contains("security");
        usable.then(|| addresses.split_whitespace().next().map(str::to_owned)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_mirror_is_read_from_either_form() {
        let one_line = "# x\ndeb [signed-by=/k] http://mirror.example/debian bookworm main\n";
        let security_first = "deb http://sec.example/debian-security bookworm-security main\ndeb http://m.example/debian bookworm main contrib\n";
        let deb822 = "Types: deb\n# c\nURIs: http://m.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\n";
        assert_eq!(mirror_of(one_line).as_deref(), Some("http://mirror.example/debian"));
        assert_eq!(mirror_of(security_first).as_deref(), Some("http://m.example/debian"));
        assert_eq!(mirror_of(deb822).as_deref(), Some("http://m.example/debian"));
        assert_eq!(mirror_of("deb https://vendor.example/apt nodistro other\n"), None);
    }

    #[test]
    fn packages_that_were_removed_are_not_installed() {
        let status =
            "Package: a\nStatus: install ok installed\n\nPackage: b\nStatus: deinstall ok config-files\n";
        assert_eq!(installed_packages(status), ["a"]);
    }
}
