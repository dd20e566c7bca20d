use std::collections::BTreeMap;

use nix::unistd::Group;
use serde::Serialize;

use super::SocketsError;
use crate::engine::{Action, Change, Component, Context, Kept, Retirement};
use crate::paths::{CONTAINER_SOCKETS, Tree};
use crate::run::Invocation;
use crate::spec::HostSpec;
use crate::storage::place::{Found, Leftover, Place, PlaceChange, remove_tree};

/// The group whose members may use the API socket and the containers' sockets.
pub const GROUP: &str = "opdbus";

/// The component's name, and the marker of what it makes.
const TAG: &str = "sockets";

/// The group and the directories of the sockets.
#[derive(Debug, Clone)]
pub struct SocketsComponent {
    group: String,
}

impl Default for SocketsComponent {
    fn default() -> Self {
        Self::with_group(GROUP)
    }
}

/// What is seen of the sockets' directories.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SocketsSeen {
    /// Whether the group exists. Its number is the host's own affair.
    pub group: bool,
    /// The directories, by name.
    pub directories: BTreeMap<String, Found>,
    /// What was left half made.
    pub leftovers: Vec<Leftover>,
}

/// One change to the sockets' directories.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum SocketsChange {
    /// The group is made.
    Group {
        /// Its name.
        name: String,
    },
    /// A directory.
    Place(PlaceChange),
    /// The directory of all sockets is removed, with everything in it.
    RemoveAll {
        /// Where.
        path: std::path::PathBuf,
    },
    /// The group is removed.
    RemoveGroup {
        /// Its name.
        name: String,
    },
}

impl Change for SocketsChange {
    fn action(&self) -> Action {
        match self {
            Self::Group { .. } => Action::Create,
            Self::Place(change) => change.action(),
            Self::RemoveAll { .. } | Self::RemoveGroup { .. } => Action::Remove,
        }
    }
    fn object(&self) -> String {
        match self {
            Self::Group { name } | Self::RemoveGroup { name } => format!("system group {name}"),
            Self::Place(change) => change.object(),
            Self::RemoveAll { path } => format!("directory {}", path.display()),
        }
    }
    fn detail(&self) -> String {
        match self {
            Self::Group { .. } => "its members may use the sockets".into(),
            Self::Place(change) => change.detail(),
            Self::RemoveAll { .. } => "with everything in it".into(),
            Self::RemoveGroup { .. } => String::new(),
        }
    }
}

impl SocketsComponent {
    /// The component with another group than `opdbus`: for tests, which must not make one.
    #[must_use]
    pub fn with_group(group: &str) -> Self {
        Self { group: group.to_owned() }
    }

    /// The directories, by name, in the order in which they are made.
    ///
    /// The top has the requirements' 0770, the sticky bit, so that a member of the group can add sockets of their own
    /// but not put a directory of theirs in the place of one that root writes into, and may be passed by all on
    /// the way to `api`, where the daemon refuses strangers itself. The containers' sockets are closed to them by
    /// `containers`; `containers/by-name` is passed by containers' roots, whose unit mounts it.
    fn places(&self, tree: &Tree) -> [(&'static str, Place); 5] {
        let top = tree.sockets();
        let below =
            |name, mode| Place::directory(top.join(name), TAG, mode).of_group(&self.group).inside_ours();
        [
            ("sockets", Place::directory(&top, TAG, 0o1771).of_group(&self.group)),
            ("sockets/containers", below("containers", 0o750)),
            ("sockets/containers/by-name", below(CONTAINER_SOCKETS, 0o755)),
            ("sockets/plugins", below("plugins", 0o750)),
            ("sockets/api", below("api", 0o755)),
        ]
    }
}

impl Component for SocketsComponent {
    const NAME: &'static str = TAG;
    type Seen = SocketsSeen;
    type Change = SocketsChange;
    type Error = SocketsError;

    fn validate(&self, cx: &Context<'_>) -> Result<(), SocketsError> {
        self.plan(cx.spec, &self.observe(cx)?).map(drop)
    }

    fn observe(&self, cx: &Context<'_>) -> Result<SocketsSeen, SocketsError> {
        let tree = cx.tree();
        let group = Group::from_name(&self.group)
            .map_err(|errno| SocketsError::LookUp { group: self.group.clone(), source: errno.into() })?;
        let mut directories = BTreeMap::new();
        for (name, place) in self.places(&tree) {
            directories.insert(name.to_owned(), Found::read(&place.path)?);
        }
        // The top's own leftover lies in the base path, which storage looks after.
        let leftovers = Leftover::list(&tree.sockets())?;
        Ok(SocketsSeen { group: group.is_some(), directories, leftovers })
    }

    fn plan(&self, spec: &HostSpec, seen: &SocketsSeen) -> Result<Vec<SocketsChange>, SocketsError> {
        let mut changes = Vec::new();
        if !seen.group {
            changes.push(SocketsChange::Group { name: self.group.clone() });
        }
        for leftover in &seen.leftovers {
            changes.push(SocketsChange::Place(leftover.removal()?));
        }
        for (name, place) in self.places(&Tree::new(&spec.btrfs.base_path)) {
            let found = seen.directories.get(name).unwrap_or(&Found::Missing);
            changes.extend(place.compare(found)?.map(SocketsChange::Place));
        }
        Ok(changes)
    }

    fn apply(&self, cx: &Context<'_>, change: &SocketsChange) -> Result<(), SocketsError> {
        match change {
            SocketsChange::Group { name } => {
                cx.host.run.run(&Invocation::new("groupadd").args(["--system", name]))?;
                Ok(())
            }
            SocketsChange::Place(change) => Ok(change.apply()?),
            SocketsChange::RemoveAll { path } => Ok(remove_tree(path, TAG)?),
            SocketsChange::RemoveGroup { name } => {
                cx.host.run.run(&Invocation::new("groupdel").arg(name))?;
                Ok(())
            }
        }
    }

    fn retire(
        &self,
        cx: &Context<'_>,
        seen: &SocketsSeen,
        data: bool,
    ) -> Result<Retirement<SocketsChange>, SocketsError> {
        if !data {
            return Ok(Retirement::default());
        }
        let members = members(cx, &self.group)?;
        Ok(self.retirement(&cx.tree(), seen, &members))
    }
}

impl SocketsComponent {
    /// The directories go before the group that owns them, which goes when nobody is in it.
    fn retirement(&self, tree: &Tree, seen: &SocketsSeen, members: &[String]) -> Retirement<SocketsChange> {
        let mut all = Retirement::default();
        let marker = seen.directories.get(TAG).and_then(Found::attributes).and_then(|a| a.marker.as_deref());
        if marker == Some(TAG) {
            all.changes.push(SocketsChange::RemoveAll { path: tree.sockets() });
        }
        if !seen.group {
            return all;
        }
        if members.is_empty() {
            all.changes.push(SocketsChange::RemoveGroup { name: self.group.clone() });
        } else {
            let why =
                format!("it has members: {}; without them: groupdel {}", members.join(", "), self.group);
            all.kept.push(Kept::new(format!("system group {}", self.group), why));
        }
        all
    }
}

/// The users in a group, also those whose own group it is.
fn members(cx: &Context<'_>, group: &str) -> Result<Vec<String>, SocketsError> {
    let found = Group::from_name(group)
        .map_err(|errno| SocketsError::LookUp { group: group.to_owned(), source: errno.into() })?;
    let Some(found) = found else { return Ok(Vec::new()) };
    let users = cx.host.run.run(&Invocation::new("getent").arg("passwd"))?.text();
    let gid = found.gid.to_string();
    let own = users.lines().filter(|line| line.split(':').nth(3) == Some(&gid));
    let own = own.filter_map(|line| line.split(':').next()).map(str::to_owned);
    Ok(found.mem.iter().cloned().chain(own).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Host, Silent};
    use crate::run::recorded::Recorded;
    use crate::run::{Output, Runner};

    fn words(seen: &SocketsSeen) -> Vec<String> {
        let changes = SocketsComponent::default().plan(&HostSpec::default(), seen).unwrap();
        changes.iter().map(|c| format!("{:?} {}: {}", c.action(), c.object(), c.detail())).collect()
    }

    #[test]
    fn a_bare_host_gets_the_group_first_and_then_what_it_owns() {
        let bare = SocketsSeen { group: false, directories: BTreeMap::new(), leftovers: Vec::new() };
        assert_eq!(
            words(&bare),
            [
                "Create system group opdbus: its members may use the sockets",
                "Create directory /var/lib/op-dbus/sockets: root:opdbus 1771",
                "Create directory /var/lib/op-dbus/sockets/containers: root:opdbus 0750",
                "Create directory /var/lib/op-dbus/sockets/containers/by-name: root:opdbus 0755",
                "Create directory /var/lib/op-dbus/sockets/plugins: root:opdbus 0750",
                "Create directory /var/lib/op-dbus/sockets/api: root:opdbus 0755",
            ]
        );
    }

    #[test]
    fn the_group_is_made_by_the_hosts_own_tool_and_only_where_it_is_missing() {
        let recorded = Recorded::new(|_| Ok(Output::default()));
        let host = Host { run: Runner::new(recorded.clone()), ..Host::default() };
        let base = tempfile::tempdir().unwrap();
        let mut spec = HostSpec::default();
        base.path().clone_into(&mut spec.btrfs.base_path);
        let cx = Context { host: &host, spec: &spec, progress: &Silent };
        let component = SocketsComponent::with_group("opdbus-no-such-group");
        let seen = component.observe(&cx).unwrap();
        assert!(!seen.group);
        let plan = component.plan(&spec, &seen).unwrap();
        component.apply(&cx, &plan[0]).unwrap();
        assert_eq!(recorded.calls(), ["groupadd --system opdbus-no-such-group"]);
        assert!(SocketsComponent::with_group("daemon").observe(&cx).unwrap().group);
    }

    #[test]
    fn the_group_goes_with_a_purge_unless_somebody_is_in_it() {
        let spec = HostSpec::default();
        let tree = Tree::new(&spec.btrfs.base_path);
        let found = |marker| Found::Directory(crate::storage::place::tests::attributes(0o771, marker));
        let seen = |marker, group| SocketsSeen {
            group,
            directories: [(TAG.to_owned(), found(marker))].into(),
            leftovers: Vec::new(),
        };
        let component = SocketsComponent::default();
        let words = |seen: &SocketsSeen, members: &[String]| {
            let all = component.retirement(&tree, seen, members);
            (all.changes.iter().map(Change::object).collect::<Vec<_>>(), all.kept.len())
        };
        let ours = seen(Some(TAG), true);
        let directory = "directory /var/lib/op-dbus/sockets".to_owned();
        assert_eq!(words(&ours, &[]), (vec![directory.clone(), "system group opdbus".to_owned()], 0));
        assert_eq!(words(&ours, &["alice".into()]), (vec![directory], 1));
        assert_eq!(words(&seen(None, false), &[]), (vec![], 0), "what is not marked stays");

        let host = Host::default();
        let cx = Context { host: &host, spec: &spec, progress: &Silent };
        assert_eq!(component.retire(&cx, &ours, false).unwrap(), Retirement::default());
    }
}
