//! Everything that changes names in a tree: making, removing, renaming. They are changed through a
//! descriptor of their directory, so what is checked is what is changed.

use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, FileType, RenameFlags, linkat, mkdirat, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use super::error::{ErrorKind, Explain as _};
use super::path::VirtualPath;
use super::quota::inode;
use super::{LOOK, Vfs, VfsError, resolve};

/// What a change does to the names that there are: what a quota of files goes by.
#[derive(Debug, Clone, Copy)]
pub(super) enum Effect {
    Makes,
    Removes,
}

impl Vfs {
    /// Removes a file, or a link itself.
    pub fn remove_file(&self, path: &VirtualPath) -> Result<(), VfsError> {
        self.change(path, "remove", Effect::Removes, |parent, name| {
            unlinkat(parent, name, AtFlags::empty())
        })
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, path: &VirtualPath) -> Result<(), VfsError> {
        let action = "remove the directory";
        self.change(path, action, Effect::Removes, |parent, name| {
            match unlinkat(parent, name, AtFlags::REMOVEDIR) {
                // POSIX lets file systems choose between the two.
                Err(Errno::EXIST) => Err(Errno::NOTEMPTY),
                other => other,
            }
        })
    }

    /// Makes a directory.
    pub fn make_dir(&self, path: &VirtualPath) -> Result<(), VfsError> {
        let action = "make the directory";
        if path.file_name().is_none() {
            return Err(VfsError::refused(action, path, ErrorKind::Exists));
        }
        self.change(path, action, Effect::Makes, |parent, name| {
            mkdirat(parent, name, resolve::NEW_DIRECTORY)
        })
    }

    /// Renames `from` to `to`; where `replaces`, in place of a file that is there, as rename(2) does.
    /// Links are renamed themselves.
    pub fn rename(
        &self,
        from: &VirtualPath,
        to: &VirtualPath,
        replaces: bool,
    ) -> Result<(), VfsError> {
        let action = "rename";
        let old_name = from.last_name(action)?;
        let new_name = to.last_name(action)?;
        let old_parent = resolve::parent(&self.root, from).explain(action, from)?;
        let new_parent = resolve::parent(&self.root, to).explain("rename to", to)?;
        let mut ledger = self.rules().ledger().explain(action, from)?;
        let replaced = match &ledger {
            Some(_) => statat(&new_parent, new_name, LOOK).ok(),
            None => None,
        };
        // Between two names of one file, rename(2) does nothing.
        let replaced = replaced.filter(|new| {
            let old = statat(&old_parent, old_name, LOOK);
            old.is_ok_and(|old| inode(&old) != inode(new))
        });
        let renamed = match replaces {
            true => renameat(&old_parent, old_name, &new_parent, new_name),
            false => rename_new(&old_parent, old_name, &new_parent, new_name),
        };
        match renamed {
            // Both directories are inside the root already: here it means two file systems.
            Err(errno @ Errno::XDEV) => Err(VfsError::Operation {
                action: "rename to",
                path: to.clone(),
                kind: ErrorKind::CrossDevice,
                errno: Some(errno),
            }),
            Err(errno @ Errno::NOENT) => Err(errno).explain(action, from),
            renamed => {
                renamed.explain("rename to", to)?;
                if let (Some(ledger), Some(replaced)) = (&mut ledger, replaced) {
                    ledger.removed(&replaced);
                }
                Ok(())
            }
        }
    }

    pub(super) fn change(
        &self,
        path: &VirtualPath,
        action: &'static str,
        effect: Effect,
        call: impl FnOnce(&OwnedFd, &[u8]) -> Result<(), Errno>,
    ) -> Result<(), VfsError> {
        let name = path.last_name(action)?;
        let parent = resolve::parent(&self.root, path).explain(action, path)?;
        let ledger = match effect {
            Effect::Makes => self.rules().ledger().explain(action, path)?,
            Effect::Removes => self.rules().ledger_if_known(),
        };
        let Some(mut ledger) = ledger else {
            return call(&parent, name).explain(action, path);
        };
        match effect {
            Effect::Makes => {
                ledger.has_room().explain(action, path)?;
                call(&parent, name).explain(action, path)?;
                ledger.made();
            }
            Effect::Removes => {
                let before = statat(&parent, name, LOOK).explain(action, path)?;
                call(&parent, name).explain(action, path)?;
                ledger.removed(&before);
            }
        }
        Ok(())
    }
}

/// rename(2) to a name that nothing may have: EEXIST.
pub(super) fn rename_new(
    old_parent: &OwnedFd,
    old_name: &[u8],
    new_parent: &OwnedFd,
    new_name: &[u8],
) -> Result<(), Errno> {
    let new = RenameFlags::NOREPLACE;
    match renameat_with(old_parent, old_name, new_parent, new_name, new) {
        // Not known to this file system (NFS), or a directory is to go into itself.
        Err(Errno::INVAL) => {}
        renamed => return renamed,
    }
    let old = statat(old_parent, old_name, LOOK)?;
    match FileType::from_raw_mode(old.st_mode) {
        // Has one name only: what comes to have the new one in this moment is replaced.
        FileType::Directory => match statat(new_parent, new_name, LOOK) {
            Ok(_) => Err(Errno::EXIST),
            Err(_) => renameat(old_parent, old_name, new_parent, new_name),
        },
        // A second name, then without the first, is as good.
        _ => {
            linkat(old_parent, old_name, new_parent, new_name, AtFlags::empty())?;
            unlinkat(old_parent, old_name, AtFlags::empty())
        }
    }
}
