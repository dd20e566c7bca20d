//! What every template is given and relieved of, whatever filled it.

use std::io;

use rustix::fs::FileType;

use super::error::TemplateError;
use super::openrc;
use super::packages::locale_is_built_in;
use super::populate::bound_to_us;
use super::user::{self, UserError};
use crate::engine::Context;
use crate::files::RootDir;
use crate::name::TemplateName;
use crate::spec::Template;

/// Where administrators' units lie.
const UNITS: &str = "etc/systemd/system";

/// A unit that every template, or every template with a certain program, has.
struct Unit {
    name: &'static str,
    text: &'static str,
    /// The target it is enabled for; not enabled by itself where none.
    wanted_by: Option<&'static str>,
    /// Only where this is in the root file system.
    only_with: Option<&'static str>,
}

const OUR_UNITS: [Unit; 4] = [
    Unit {
        name: "socket-network.socket",
        text: include_str!("units/socket-network.socket"),
        wanted_by: Some("sockets.target"),
        only_with: None,
    },
    Unit {
        name: "socket-network.service",
        text: include_str!("units/socket-network.service"),
        wanted_by: None,
        only_with: None,
    },
    Unit {
        name: "opdbus-ssh-host-keys.service",
        text: include_str!("units/opdbus-ssh-host-keys.service"),
        wanted_by: Some("multi-user.target"),
        only_with: Some("usr/sbin/sshd"),
    },
    Unit {
        name: "opdbus-snakeoil.service",
        text: include_str!("units/opdbus-snakeoil.service"),
        wanted_by: Some("multi-user.target"),
        only_with: Some("usr/sbin/make-ssl-cert"),
    },
];

/// Units that have no business in a container. Timers of apt stay: a clone looks after its own updates.
const MASKED: [&str; 8] = [
    // The kernel's insides are the host's; the first of them fails without its privileges, and with
    // it the container's systemd would call itself degraded.
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "sys-kernel-config.mount",
    // Fails in a Debian 13 that has no /etc/modules, which /etc/modules-load.d points to.
    "systemd-modules-load.service",
    // The host set the only interface up before the container's init ran; nothing is to be waited for.
    "systemd-networkd-wait-online.service",
    // The disk is the host's to trim and to check.
    "fstrim.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
];

/// Directories that must be there for the host to mount on.
const MOUNT_POINTS: [&str; 5] = ["dev", "proc", "sys", "run", "tmp"];

/// What generates the locales, run in the template, with where programs are there: the path of the host need not lead
/// anywhere in it (NixOS), and locale-gen is content with having generated nothing.
const LOCALE_GEN: [&str; 3] = [
    "/usr/bin/env",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "/usr/sbin/locale-gen",
];

fn in_template(name: &TemplateName, verb: &'static str) -> impl FnOnce(io::Error) -> TemplateError {
    let path = format!("{name}/rootfs").into();
    move |source| TemplateError::Io { verb, path, source }
}

/// Takes away what a build leaves and no clone needs: devices, caches, package lists, logs.
pub(super) fn clean(name: &TemplateName, root: &RootDir) -> Result<(), TemplateError> {
    clean_files(root).map_err(in_template(name, "clean"))
}

fn clean_files(root: &RootDir) -> io::Result<()> {
    root.clear_dir("dev")?;
    // A device is the host's, whoever opens it; a clone's root may open what lies in its own tree.
    let device = |kind| matches!(kind, FileType::BlockDevice | FileType::CharacterDevice);
    for path in root.find("/", &device)? {
        tracing::warn!(path = %path.display(), "removed a device node");
        root.remove(path)?;
    }
    for directory in ["tmp", "var/tmp", "var/lib/apt/lists", "var/cache/apt", "var/cache/apk"] {
        root.clear_dir(directory)?;
    }
    for log in root.find("var/log", &|kind| kind == FileType::RegularFile)? {
        root.remove(log)?;
    }
    // What the account tools keep of the last version but one.
    for old in ["etc/passwd-", "etc/shadow-", "etc/group-", "etc/gshadow-", "etc/subuid-", "etc/subgid-"] {
        root.remove(old)?;
    }
    for directory in MOUNT_POINTS {
        if !root.exists(directory) {
            root.create_dir_all(directory)?;
            if directory == "tmp" {
                root.chmod(directory, 0o1777)?;
            }
        }
    }
    Ok(())
}

/// Gives a template what its declaration says and what every clone needs to be one of ours.
pub(super) fn customise(
    cx: &Context<'_>,
    name: &TemplateName,
    declaration: &Template,
    generation: &str,
    root: &RootDir,
    rootfs: &std::path::Path,
) -> Result<(), TemplateError> {
    // Where the host binds the sockets that the container offers and was granted.
    root.create_dir_all("var/lib/op-dbus/sockets/containers")
        .map_err(in_template(name, "make sockets' place in"))?;
    if openrc::is_openrc(root) {
        openrc::set_up(root).map_err(in_template(name, "set OpenRC up in"))?;
    } else {
        units(root).map_err(in_template(name, "lay units into"))?;
    }
    network(root).map_err(in_template(name, "set the network up in"))?;
    marker(root, name, generation).map_err(in_template(name, "write /etc/opdbus in"))?;
    time_zone(root, name, declaration)?;
    locale(cx, root, name, declaration, rootfs)?;
    if let Some(user) = &declaration.user {
        user::create(root, user).map_err(|error| match error {
            UserError::Io(source) => in_template(name, "make the user in")(source),
            UserError::System(uid) => TemplateError::Declaration {
                name: name.clone(),
                why: format!("its user {} is an account of the system there (number {uid})", user.name),
                next: "choose another login name".into(),
            },
            UserError::Malformed(what) => TemplateError::Declaration {
                name: name.clone(),
                why: format!("its user cannot be made: {what} makes no sense"),
                next: "repair the tarball's account files, or leave the user out".into(),
            },
        })?;
    }
    Ok(())
}

fn units(root: &RootDir) -> io::Result<()> {
    root.create_dir_all(UNITS)?;
    for unit in &OUR_UNITS {
        if unit.only_with.is_some_and(|program| !root.exists(program)) {
            continue;
        }
        let path = format!("{UNITS}/{}", unit.name);
        root.write(&path, unit.text.as_bytes(), 0o644)?;
        if let Some(target) = unit.wanted_by {
            let wants = format!("{UNITS}/{target}.wants");
            root.create_dir_all(&wants)?;
            root.symlink(format!("/{path}"), format!("{wants}/{}", unit.name))?;
        }
    }
    for masked in MASKED {
        root.remove_all(format!("{UNITS}/{masked}"))?;
        root.symlink("/dev/null", format!("{UNITS}/{masked}"))?;
    }
    Ok(())
}

/// The host gives eth0 its address before the container's init runs; whatever else sets interfaces
/// up keeps its hands off it.
fn network(root: &RootDir) -> io::Result<()> {
    if !openrc::is_openrc(root) {
        root.create_dir_all("etc/systemd/network")?;
        root.write(
            "etc/systemd/network/10-opdbus-eth0.network",
            include_bytes!("units/10-opdbus-eth0.network"),
            0o644,
        )?;
    }
    if root.exists("etc/network/interfaces") {
        let text =
            b"# eth0 is set up by the host when the container starts.\nauto lo\niface lo inet loopback\n";
        root.write("etc/network/interfaces", text, 0o644)?;
        root.clear_dir("etc/network/interfaces.d")?;
    }
    let hosts = b"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";
    root.write("etc/hosts", hosts, 0o644)
}

fn marker(root: &RootDir, name: &TemplateName, generation: &str) -> io::Result<()> {
    root.create_dir_all("etc/opdbus")?;
    let text =
        format!("# The template this container was cloned from.\nTEMPLATE={name}\nGENERATION={generation}\n");
    root.write("etc/opdbus/template", text.as_bytes(), 0o644)
}

fn time_zone(root: &RootDir, name: &TemplateName, declaration: &Template) -> Result<(), TemplateError> {
    let zone = &declaration.time_zone;
    let file = format!("usr/share/zoneinfo/{zone}");
    let known = root.kind(&file).map_err(in_template(name, "look for the time zone in"))?;
    // UTC is what a system without a time zone has.
    let utc = ["UTC", "Etc/UTC"].contains(&zone.as_str());
    if !utc && !matches!(known, Some(FileType::RegularFile | FileType::Symlink)) {
        return Err(TemplateError::Declaration {
            name: name.clone(),
            why: format!("its time zone {zone} is not in its /usr/share/zoneinfo"),
            next: "correct `timeZone`, or see that the package tzdata (for old names tzdata-legacy) is in it"
                .into(),
        });
    }
    let write = || {
        root.remove_all("etc/localtime")?;
        if known.is_some() {
            root.symlink(format!("/{file}"), "etc/localtime")?;
        }
        root.write("etc/timezone", format!("{zone}\n").as_bytes(), 0o644)
    };
    write().map_err(in_template(name, "set the time zone in"))
}

fn locale(
    cx: &Context<'_>,
    root: &RootDir,
    name: &TemplateName,
    declaration: &Template,
    rootfs: &std::path::Path,
) -> Result<(), TemplateError> {
    let locale = &declaration.locale;
    if !locale_is_built_in(locale) {
        generate(cx, root, name, locale, rootfs)?;
    }
    let write = || {
        let text = format!("LANG={locale}\n");
        root.create_dir_all("etc/default")?;
        root.write("etc/default/locale", text.as_bytes(), 0o644)?;
        root.remove_all("etc/locale.conf")?;
        root.write("etc/locale.conf", text.as_bytes(), 0o644)
    };
    write().map_err(in_template(name, "set the locale in"))
}

/// Generates a locale by the root file system's own `locale-gen`, the one program of a template that is run
/// when it is made; it sees no network and none of the host's processes.
fn generate(
    cx: &Context<'_>,
    root: &RootDir,
    name: &TemplateName,
    locale: &str,
    rootfs: &std::path::Path,
) -> Result<(), TemplateError> {
    let wrong =
        |why: String, next: &str| TemplateError::Declaration { name: name.clone(), why, next: next.into() };
    if !root.exists("usr/sbin/locale-gen") {
        return Err(wrong(
            format!("its locale {locale} needs generating, and it has no locale-gen"),
            "add `locales` to its packages (or to the tarball), or declare the locale C.UTF-8",
        ));
    }
    let supported =
        root.read("usr/share/i18n/SUPPORTED").map_err(in_template(name, "read"))?.unwrap_or_default();
    let supported = String::from_utf8_lossy(&supported);
    let Some(line) = supported.lines().map(str::trim).find(|l| l.split(' ').next() == Some(locale)) else {
        return Err(wrong(
            format!("its locale {locale} is not among those its package locales knows"),
            "write it as /usr/share/i18n/SUPPORTED does: de_DE.UTF-8",
        ));
    };
    root.write("etc/locale.gen", format!("{line}\n").as_bytes(), 0o644)
        .map_err(in_template(name, "write /etc/locale.gen in"))?;
    cx.progress.report(&format!("{name}: generating the locale {locale}"), None);
    let call = bound_to_us("unshare").args(["--net", "--root"]).arg(rootfs).args(LOCALE_GEN);
    cx.host.run.run(&call).map(drop).map_err(|source| TemplateError::Populate {
        name: name.clone(),
        from: "its own package locales".into(),
        source: source.into(),
        next: "declare the locale C.UTF-8",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Host, Silent};
    use crate::spec::{HostSpec, TemplateUser};

    fn rootfs() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("etc/passwd", "root:x:0:0::/root:/bin/bash\nmail:x:8:8::/:/x\n"),
            ("etc/shadow", "root:*:19000:0:99999:7:::\n"),
            ("etc/group", "root:x:0:\nshadow:x:42:\n"),
            ("etc/gshadow", "root:*::\n"),
            ("etc/skel/.profile", "# profile\n"),
            ("etc/network/interfaces", "auto eth0\niface eth0 inet dhcp\n"),
            ("usr/share/zoneinfo/Europe/Berlin", "TZif"),
            ("usr/sbin/sshd", ""),
            ("var/log/apt/history.log", "x"),
            ("var/lib/apt/lists/x_InRelease", "x"),
            ("dev/null", ""),
        ] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    fn run(dir: &std::path::Path, declaration: &Template) -> Result<(), TemplateError> {
        let (host, spec) = (Host::default(), HostSpec::default());
        let cx = Context { host: &host, spec: &spec, progress: &Silent };
        let name = "debian-base".parse().unwrap();
        let root = RootDir::open(dir).unwrap();
        clean(&name, &root)?;
        customise(&cx, &name, declaration, "20260102T030405Z-00", &root, dir)
    }

    fn read(dir: &tempfile::TempDir, path: &str) -> String {
        std::fs::read_to_string(dir.path().join(path)).unwrap()
    }

    #[test]
    fn the_socket_is_enabled_and_what_harms_in_a_container_is_masked() {
        let dir = rootfs();
        run(dir.path(), &Template::default()).unwrap();
        let link = |path: &str| std::fs::read_link(dir.path().join(path)).unwrap();
        assert_eq!(
            link("etc/systemd/system/sockets.target.wants/socket-network.socket").to_str(),
            Some("/etc/systemd/system/socket-network.socket")
        );
        assert!(read(&dir, "etc/systemd/system/socket-network.socket").contains("%H/%H.sock"));
        assert!(read(&dir, "etc/systemd/system/socket-network.service").contains("${OPDBUS_SERVICE}"));
        assert_eq!(link("etc/systemd/system/sys-kernel-debug.mount").to_str(), Some("/dev/null"));
        assert!(
            dir.path()
                .join("etc/systemd/system/multi-user.target.wants/opdbus-ssh-host-keys.service")
                .is_symlink()
        );
        assert!(!dir.path().join("etc/systemd/system/opdbus-snakeoil.service").exists());
        assert!(!read(&dir, "etc/network/interfaces").contains("eth0 inet"));
        assert!(read(&dir, "etc/opdbus/template").contains("TEMPLATE=debian-base\n"));
    }

    #[test]
    fn what_a_build_leaves_is_taken_away() {
        let dir = rootfs();
        run(dir.path(), &Template::default()).unwrap();
        for gone in ["var/log/apt/history.log", "var/lib/apt/lists/x_InRelease", "dev/null"] {
            assert!(!dir.path().join(gone).exists(), "{gone}");
        }
        for kept in ["var/log/apt", "dev", "proc", "sys", "tmp", "run"] {
            assert!(dir.path().join(kept).is_dir(), "{kept}");
        }
    }

    #[test]
    fn the_declared_zone_and_locale_are_set_and_unknown_ones_are_refused() {
        let dir = rootfs();
        run(dir.path(), &Template { time_zone: "Europe/Berlin".into(), ..Template::default() }).unwrap();
        assert_eq!(read(&dir, "etc/timezone"), "Europe/Berlin\n");
        assert_eq!(
            std::fs::read_link(dir.path().join("etc/localtime")).unwrap().to_str(),
            Some("/usr/share/zoneinfo/Europe/Berlin")
        );
        assert_eq!(read(&dir, "etc/default/locale"), "LANG=C.UTF-8\n");
        let error = run(dir.path(), &Template { time_zone: "Mars/Olympus".into(), ..Template::default() });
        assert!(error.unwrap_err().to_string().contains("Mars/Olympus"));
        let error = run(dir.path(), &Template { locale: "de_DE.UTF-8".into(), ..Template::default() });
        assert!(error.unwrap_err().to_string().contains("locale-gen"));
    }

    #[test]
    fn the_user_is_there_with_keys_and_without_a_password() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        if !rustix::process::geteuid().is_root() {
            return; // chown needs root; the host tier shows it too
        }
        let dir = rootfs();
        let user =
            TemplateUser { name: "anna".into(), ssh_keys: vec!["ssh-ed25519 AAAA anna".into()], sudo: true };
        let declaration = Template { user: Some(user), ..Template::default() };
        run(dir.path(), &declaration).unwrap();
        run(dir.path(), &declaration).unwrap();
        assert!(read(&dir, "etc/passwd").ends_with("anna:x:1000:1000::/home/anna:/bin/sh\n"));
        assert!(read(&dir, "etc/shadow").ends_with("anna:*:19000:0:99999:7:::\n"));
        assert!(read(&dir, "etc/group").ends_with("anna:x:1000:\n"));
        assert_eq!(read(&dir, "home/anna/.ssh/authorized_keys"), "ssh-ed25519 AAAA anna\n");
        assert!(read(&dir, "etc/sudoers.d/opdbus-anna").starts_with("anna ALL="));
        for (path, mode, uid) in [
            ("home/anna", 0o700, 1000),
            ("home/anna/.profile", 0o644, 1000),
            ("home/anna/.ssh", 0o700, 1000),
            ("home/anna/.ssh/authorized_keys", 0o600, 1000),
            ("etc/sudoers.d/opdbus-anna", 0o440, 0),
        ] {
            let meta = std::fs::metadata(dir.path().join(path)).unwrap();
            assert_eq!((meta.permissions().mode() & 0o7777, meta.uid()), (mode, uid), "{path}");
        }
        let shadow = std::fs::metadata(dir.path().join("etc/shadow")).unwrap();
        assert_eq!((shadow.permissions().mode() & 0o7777, shadow.gid()), (0o640, 42));

        let system = TemplateUser { name: "mail".into(), ssh_keys: Vec::new(), sudo: false };
        let error = run(dir.path(), &Template { user: Some(system), ..Template::default() }).unwrap_err();
        assert!(error.to_string().contains("account of the system"), "{error}");
    }
}
