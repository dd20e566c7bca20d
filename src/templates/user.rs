//! The user that is in every clone from the start, written straight into the account files: to run
//! `useradd` from inside would mean running a program of a root file system that is not to be trusted.

use std::io;
use std::path::Path;

use crate::files::RootDir;
use crate::spec::TemplateUser;

/// Where ordinary users begin, in Debian as elsewhere.
const FIRST_UID: u32 = 1000;
/// Where they end; above are `nobody` and ranges others allocate from.
const LAST_UID: u32 = 59999;

/// Why the user could not be made.
#[derive(Debug)]
pub(super) enum UserError {
    /// The root file system has an account of that name that is not an ordinary user's.
    System(u32),
    /// Its account files make no sense.
    Malformed(&'static str),
    /// A file could not be read or written.
    Io(io::Error),
}

impl From<io::Error> for UserError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The account of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    uid: u32,
    gid: u32,
    pub(super) home: String,
}

/// Finds the account of `name` in the text of a passwd file.
pub(super) fn account(passwd: &str, name: &str) -> Result<Option<Account>, UserError> {
    let Some(line) = passwd.lines().find(|l| l.split(':').next() == Some(name)) else { return Ok(None) };
    let fields: Vec<&str> = line.split(':').collect();
    let number = |i: usize| fields.get(i).and_then(|f| f.parse().ok());
    match (number(2), number(3), fields.get(5)) {
        (Some(uid), Some(gid), Some(home)) if home.starts_with('/') => {
            Ok(Some(Account { uid, gid, home: (*home).to_owned() }))
        }
        _ => Err(UserError::Malformed("etc/passwd")),
    }
}

/// The lowest number from 1000 on that neither a user nor a group has.
pub(super) fn free_id(passwd: &str, group: &str) -> Option<u32> {
    let taken: std::collections::BTreeSet<u32> = passwd
        .lines()
        .chain(group.lines())
        .filter_map(|l| l.split(':').nth(2).and_then(|f| f.parse().ok()))
        .collect();
    (FIRST_UID..=LAST_UID).find(|id| !taken.contains(id))
}

fn with_line(mut text: String, line: &str) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
    text
}

fn read(root: &RootDir, path: &str) -> Result<Option<String>, UserError> {
    root.read(path)?
        .map(|b| String::from_utf8(b).map_err(|_| UserError::Malformed("an account file")))
        .transpose()
}

/// Makes the user with its keys, or gives the keys to the one of that name that is there.
pub(super) fn create(root: &RootDir, user: &TemplateUser) -> Result<(), UserError> {
    let passwd = read(root, "etc/passwd")?.unwrap_or_default();
    let account = match account(&passwd, &user.name)? {
        Some(account) if account.uid < FIRST_UID => return Err(UserError::System(account.uid)),
        Some(account) => account,
        None => add(root, passwd, &user.name)?,
    };
    root.create_dir_all("home")?;
    if !root.exists(&account.home) {
        root.create_dir_all(&account.home)?;
        copy_skeleton(root, &account)?;
        root.chown(&account.home, account.uid, account.gid)?;
        root.chmod(&account.home, 0o700)?;
    }
    if !user.ssh_keys.is_empty() {
        let ssh = format!("{}/.ssh", account.home);
        let file = format!("{ssh}/authorized_keys");
        root.create_dir_all(&ssh)?;
        let mut keys = user.ssh_keys.join("\n");
        keys.push('\n');
        root.write(&file, keys.as_bytes(), 0o600)?;
        root.chown(&file, account.uid, account.gid)?;
        root.chown(&ssh, account.uid, account.gid)?;
        root.chmod(&ssh, 0o700)?;
    }
    if user.sudo {
        root.create_dir_all("etc/sudoers.d")?;
        let rule = format!("{} ALL=(ALL:ALL) NOPASSWD: ALL\n", user.name);
        root.write(format!("etc/sudoers.d/opdbus-{}", user.name), rule.as_bytes(), 0o440)?;
    }
    Ok(())
}

/// Adds the account and a group of its own; '*' for a password: no password fits, keys do.
fn add(root: &RootDir, passwd: String, name: &str) -> Result<Account, UserError> {
    let group = read(root, "etc/group")?.unwrap_or_default();
    let id = free_id(&passwd, &group).ok_or(UserError::Malformed("etc/passwd: no number is free"))?;
    let home = format!("/home/{name}");
    let shell = if root.exists("bin/bash") { "/bin/bash" } else { "/bin/sh" };
    // The same day for every build, for what matters is only that it is not 0, "change at once".
    let shadow_line = format!("{name}:*:19000:0:99999:7:::");
    root.create_dir_all("etc")?;
    let gid = group_id(&group, name)?.unwrap_or(id);
    let shadow_group = group_id(&group, "shadow")?.unwrap_or(0);
    if let Some(shadow) = read(root, "etc/shadow")? {
        root.write("etc/shadow", with_line(shadow, &shadow_line).as_bytes(), 0o640)?;
        root.chown("etc/shadow", 0, shadow_group)?;
    }
    if gid == id {
        if let Some(gshadow) = read(root, "etc/gshadow")? {
            root.write("etc/gshadow", with_line(gshadow, &format!("{name}:!::")).as_bytes(), 0o640)?;
            root.chown("etc/gshadow", 0, shadow_group)?;
        }
        root.write("etc/group", with_line(group, &format!("{name}:x:{id}:")).as_bytes(), 0o644)?;
    }
    let line = format!("{name}:x:{id}:{gid}::{home}:{shell}");
    root.write("etc/passwd", with_line(passwd, &line).as_bytes(), 0o644)?;
    Ok(Account { uid: id, gid, home })
}

/// The number of a group, where there is one of that name.
pub(super) fn group_id(group: &str, name: &str) -> Result<Option<u32>, UserError> {
    let Some(line) = group.lines().find(|l| l.split(':').next() == Some(name)) else { return Ok(None) };
    let number = line.split(':').nth(2).and_then(|f| f.parse().ok());
    number.map(Some).ok_or(UserError::Malformed("etc/group"))
}

/// Gives a new home the files of `/etc/skel`.
fn copy_skeleton(root: &RootDir, account: &Account) -> Result<(), UserError> {
    let regular = |kind| kind == rustix::fs::FileType::RegularFile;
    for file in root.find("etc/skel", &regular)? {
        let Ok(below) = file.strip_prefix("etc/skel") else { continue };
        let Some(content) = root.read(&file)? else { continue };
        let target = Path::new(&account.home).join(below);
        if let Some(parent) = below.parent().filter(|p| !p.as_os_str().is_empty()) {
            let parent = Path::new(&account.home).join(parent);
            root.create_dir_all(&parent)?;
            root.chown(&parent, account.uid, account.gid)?;
        }
        root.write(&target, &content, 0o644)?;
        root.chown(&target, account.uid, account.gid)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\nanna:x:1000:1000::/home/anna:/bin/bash\nnobody:x:65534:65534::/nonexistent:/x\n";

    #[test]
    fn accounts_are_found_and_nonsense_is_refused() {
        assert_eq!(
            account(PASSWD, "anna").unwrap(),
            Some(Account { uid: 1000, gid: 1000, home: "/home/anna".into() })
        );
        assert_eq!(account(PASSWD, "ann").unwrap(), None);
        assert!(account("x:x:y:0::/:/", "x").is_err());
        assert!(account("x:x:1000:1000::home:/", "x").is_err());
    }

    #[test]
    fn a_new_user_gets_a_number_that_neither_a_user_nor_a_group_has() {
        assert_eq!(free_id(PASSWD, "root:x:0:\nstaff:x:1001:\n"), Some(1002));
        assert_eq!(free_id("", ""), Some(1000));
    }

    #[test]
    fn a_file_without_a_last_newline_is_not_broken() {
        assert_eq!(with_line("a".into(), "b"), "a\nb\n");
        assert_eq!(with_line(String::new(), "b"), "b\n");
    }
}
