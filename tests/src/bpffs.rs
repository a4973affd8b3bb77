//! A bpffs that nobody else sees: mounted nowhere, held by a file descriptor, gone with the test.

use std::{
    fs,
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
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

    /// A configuration file in `folder` that has a guard leave its kernel half here.
    pub fn config_of_guard(&self, folder: &Path) -> Result<String> {
        let file = folder.join("guard.toml");
        let text = format!(
            "[guard]\non_exit = \"closed\"\nbpffs = \"{}\"\n",
            self.path()
        );
        fs::write(&file, text)?;
        Ok(file.to_str().context("a path that is text")?.to_owned())
    }
}
