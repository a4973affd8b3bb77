//! Folders of a bpffs: which there are, made, held against other guards, removed.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, flock, fstatfs},
    process::geteuid,
};

use super::PinsError;

/// Of a bpffs (include/uapi/linux/magic.h).
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

pub(super) const FOLDER: &str = "pinhole-guard";
/// Before the number of its network namespace.
const HOME: &str = "net-";

pub(super) fn home(bpffs: &Path, namespace: u32) -> PathBuf {
    bpffs.join(FOLDER).join(format!("{HOME}{namespace}"))
}

/// Whose home it is, by its name.
pub(super) fn namespace_of(home: &str) -> Option<u32> {
    home.strip_prefix(HOME)?.parse().ok()
}

/// Not even to be looked at by others: who can open a pin can write the map.
pub(super) fn make(folder: &Path) -> Result<(), PinsError> {
    let make = || {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
    };
    match make() {
        // Another namespace's guard has left nothing in between.
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(),
        made => made,
    }
    .map_err(failed("make", folder))
}

/// Neither the home nor the folder that it is in may be somebody else's, or a link: what is in them is
/// removed, and what is pinned there is believed.
fn is_ours(home: &Path) -> Result<(), PinsError> {
    for folder in home.parent().into_iter().chain([home]) {
        let found = fs::symlink_metadata(folder).map_err(failed("look at", folder))?;
        let alone = found.mode() & 0o077 == 0 && found.uid() == geteuid().as_raw();
        if !(found.is_dir() && alone) {
            return Err(PinsError::Strange(folder.to_owned()));
        }
    }
    Ok(())
}

/// Takes away the folder that the homes are in, unless there are others.
pub(super) fn leave_nothing(home: &Path) {
    if let Some(folder) = home.parent() {
        let _ = fs::remove_dir(folder);
    }
}

/// One guard at a time. The lock goes with the process.
pub(super) fn hold(home: &Path) -> Result<File, PinsError> {
    is_ours(home)?;
    let held = File::open(home).map_err(failed("open", home))?;
    match flock(&held, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(held),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(PinsError::Taken(home.to_owned())),
        Err(error) => Err(failed("lock", home)(error.into())),
    }
}

pub(super) fn is_bpffs(path: &Path) -> bool {
    let magic = File::open(path)
        .ok()
        .and_then(|folder| fstatfs(folder).ok())
        .map(|found| found.f_type);
    magic.is_some_and(|magic| u64::try_from(magic).is_ok_and(|magic| magic == BPF_FS_MAGIC))
}

/// What there is in a folder, if that can be read.
pub(super) fn names_in(folder: &Path) -> Vec<String> {
    list(folder).unwrap_or_default()
}

/// What there is in a folder; nothing where there is no folder.
pub(super) fn list(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries.flatten(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    Ok(entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect())
}

pub(super) fn remove_folder(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder) {
        tracing::warn!(%error, "cannot remove {}", folder.display());
    }
}

pub(super) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PinsError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::PermissionDenied => PinsError::Denied { what, path, source },
        _ => PinsError::Files { what, path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn what_others_can_change_is_not_held() {
        let bpffs = tempfile::tempdir().unwrap();
        let home = home(bpffs.path(), 7);
        make(&home).unwrap();
        drop(hold(&home).unwrap());
        for strange in [home.clone(), bpffs.path().join(FOLDER)] {
            fs::set_permissions(&strange, fs::Permissions::from_mode(0o770)).unwrap();
            assert!(matches!(hold(&home), Err(PinsError::Strange(path)) if path == strange));
            fs::set_permissions(&strange, fs::Permissions::from_mode(0o700)).unwrap();
        }
        fs::remove_dir(&home).unwrap();
        symlink("..", &home).unwrap();
        assert!(matches!(hold(&home), Err(PinsError::Strange(path)) if path == home));
    }
}
