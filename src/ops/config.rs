//! What operations read of the host's configuration.

use super::caller::Caller;
use crate::engine::Host;
use crate::fault::Report;
use crate::paths::Paths;
use crate::spec::{self, HostSpec};

/// The host spec as it is on disk.
pub fn read_spec(host: &Host) -> Result<HostSpec, Report> {
    Ok(spec::load(&host.paths.config())?)
}

/// How the host was set up: `traditional` or `nixos`, from `/etc/opdbus/deployment-type`.
#[must_use]
pub fn deployment(paths: &Paths) -> String {
    let text = std::fs::read_to_string(paths.etc.join("deployment-type")).unwrap_or_default();
    if text.trim() == "nixos" { "nixos".into() } else { "traditional".into() }
}

/// The caller as the ledger has it.
#[must_use]
pub fn ledger_caller(caller: &Caller) -> crate::ledger::Caller {
    crate::ledger::Caller { uid: Some(caller.uid), user: caller.user.clone(), via: caller.via.as_str().into() }
}
