//! A bpffs that nobody else sees: mounted nowhere, held by a file descriptor, gone with the test.

use std::{
    os::fd::{AsRawFd as _, OwnedFd},
    process,
};

use anyhow::{Context as _, Result};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// The file system.
#[derive(Debug)]
pub struct Bpffs(OwnedFd);

impl Bpffs {
    /// A new, empty one.
    pub fn new() -> Result<Bpffs> {
        let context = fsopen("bpf", FsOpenFlags::FSOPEN_CLOEXEC).context("no bpffs here")?;
        fsconfig_create(&context).context("cannot make a bpffs")?;
        let mount = fsmount(
            &context,
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::empty(),
        );
        Ok(Bpffs(mount.context("cannot hold a bpffs")?))
    }

    /// A path by which other programs can use it while this lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", process::id(), self.0.as_raw_fd())
    }
}
