//! What the room of snapshots asks about a container whose root file system it exchanges.

use std::path::Path;

use super::backend::{Backend, Lxc};
use super::manage::Containers;
use crate::engine::Context;
use crate::fault::Report;
use crate::name::ContainerName;
use crate::snapshots::Occupants;

impl Occupants for Lxc {
    fn running(&self, cx: &Context<'_>, name: &ContainerName) -> Result<bool, Report> {
        // One whose record is gone has nothing that could be put back.
        Containers::new(cx, self).get(name)?;
        Ok(Backend::running(self, cx)?.contains(name))
    }
    fn stop(&self, cx: &Context<'_>, name: &ContainerName) -> Result<(), Report> {
        Ok(Containers::new(cx, self).stop(name)?)
    }
    fn start(&self, cx: &Context<'_>, name: &ContainerName) -> Result<(), Report> {
        Ok(Containers::new(cx, self).start(name)?)
    }
    fn refit(&self, cx: &Context<'_>, name: &ContainerName, rootfs: &Path) -> Result<(), Report> {
        Ok(Containers::new(cx, self).refit(name, rootfs)?)
    }
}
