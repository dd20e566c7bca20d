//! Where the programs log to: the journal, with fields, where systemd has it read their standard error; else
//! standard error.

use std::io::IsTerminal;
use std::os::fd::AsFd;

use tracing_journald::{Layer, Priority, PriorityMappings};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::ops::said;

/// What is logged by default. The MCP server's SDK warns of each mistake of a client's, who is told of it already.
const DEFAULT: &str = "warn,rmcp=error";

/// What the fields of the journal begin with.
const PREFIX: &str = "OPDBUS";

/// Starts logging as `RUST_LOG` says. By default warnings alone, and in the journal also which calls changed something.
pub fn init_logging() {
    let stream = std::env::var("JOURNAL_STREAM").ok();
    let journal = is(stream.as_deref(), std::io::stderr()).then(journal).flatten();
    let default =
        if journal.is_some() { format!("{DEFAULT},{}=info", said::LOG) } else { DEFAULT.to_owned() };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    // Fails only where logging was started already.
    let _ = match journal {
        Some(journal) => tracing_subscriber::registry().with(filter).with(journal).try_init(),
        None => tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .without_time()
            .finish()
            .try_init(),
    };
}

/// Whether what `stream` names, device and inode, is behind a descriptor: the variable may be inherited by who writes
/// elsewhere (systemd.exec(5)).
fn is(stream: Option<&str>, descriptor: impl AsFd) -> bool {
    let Some(stream) = stream else { return false };
    rustix::fs::fstat(descriptor).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// The journal; `None` where its socket cannot be reached, as in a sandbox without it.
fn journal() -> Option<Layer> {
    let journal = tracing_journald::layer().ok()?;
    // A program that ends at once is gone before the journal has looked up its unit; `journalctl -u` goes by this, too.
    let cgroup = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let unit = unit(&cgroup).map(|unit| ("OBJECT_SYSTEMD_UNIT", unit));
    let priorities =
        PriorityMappings { info: Priority::Informational, debug: Priority::Debug, ..PriorityMappings::new() };
    Some(
        journal
            .with_field_prefix(Some(PREFIX.to_owned()))
            .with_priority_mappings(priorities)
            .with_custom_fields(unit),
    )
}

/// The service that a process belongs to, from what `/proc/self/cgroup` shows (cgroups(7)).
fn unit(cgroup: &str) -> Option<&str> {
    let ours = |line: &&str| line.starts_with("0::") || line.contains(":name=systemd:");
    let paths = cgroup.lines().filter(ours).filter_map(|line| line.rsplit_once(':').map(|(_, path)| path));
    paths.flat_map(|path| path.rsplit('/')).find(|part| part.ends_with(".service"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_told_by_the_control_group() {
        assert_eq!(unit("0::/system.slice/opdbus.service\n"), Some("opdbus.service"));
        let old = "12:pids:/system.slice/x.service\n1:name=systemd:/system.slice/opdbus-storage.service\n";
        assert_eq!(unit(old), Some("opdbus-storage.service"));
        let instance =
            "0::/system.slice/system-opdbus\\x2dcontainer.slice/opdbus-container@web-01.service/payload\n";
        assert_eq!(unit(instance), Some("opdbus-container@web-01.service"));
        assert_eq!(unit("0::/user.slice/user-0.slice/session-1.scope\n"), None);
        assert_eq!(unit(""), None);
    }

    #[test]
    fn what_is_inherited_is_not_believed() {
        let [journal, elsewhere] = [(); 2].map(|()| tempfile::tempfile().unwrap());
        let stat = rustix::fs::fstat(&journal).unwrap();
        let stream = format!("{}:{}", stat.st_dev, stat.st_ino);
        assert!(is(Some(&stream), &journal));
        assert!(!is(Some(&stream), &elsewhere) && !is(None, &journal) && !is(Some(""), &journal));
    }
}
