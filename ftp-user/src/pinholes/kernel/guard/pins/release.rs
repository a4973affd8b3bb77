//! What guards have left to go on is taken away. Pins are unlinked from outside: their network
//! namespaces may be gone.

use std::{fs, path::Path};

use super::{
    PinsError,
    folder::{FOLDER, failed, hold, home, leave_nothing, list, namespace_of},
};

/// Takes away what a guard of this network namespace has left to go on; says whether there was
/// anything.
///
/// # Errors
///
/// A guard runs, or the bpffs refuses.
pub(in super::super) fn release(bpffs: &Path, namespace: u32) -> Result<bool, PinsError> {
    let home = home(bpffs, namespace);
    if !home.try_exists().map_err(failed("look at", &home))? {
        return Ok(false);
    }
    let _held = hold(&home)?;
    fs::remove_dir_all(&home).map_err(failed("remove", &home))?;
    leave_nothing(&home);
    Ok(true)
}

/// The same for every network namespace whose guard has ended; says for which.
///
/// # Errors
///
/// Guards run and none has left anything, or the bpffs refuses.
pub(in super::super) fn release_all(bpffs: &Path) -> Result<Vec<u32>, PinsError> {
    let folder = bpffs.join(FOLDER);
    let homes = list(&folder).map_err(failed("read", &folder))?;
    let (mut released, mut runs) = (Vec::new(), None);
    for namespace in homes.iter().filter_map(|home| namespace_of(home)) {
        match release(bpffs, namespace) {
            Ok(true) => released.push(namespace),
            // Gone meanwhile.
            Ok(false) => {}
            Err(error @ PinsError::Taken(_)) => runs = Some(error),
            Err(error) => return Err(error),
        }
    }
    match runs {
        Some(error) if released.is_empty() => Err(error),
        Some(_) | None => Ok(released),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::folder::make;
    use super::*;

    /// A bpffs in which guards of these namespaces have left something.
    fn left(namespaces: &[u32]) -> tempfile::TempDir {
        let bpffs = tempfile::tempdir().unwrap();
        for namespace in namespaces {
            let layout = home(bpffs.path(), *namespace).join("layout");
            make(&layout).unwrap();
            fs::write(layout.join("watch"), "").unwrap();
        }
        bpffs
    }

    #[test]
    fn every_namespace_whose_guard_has_ended_is_released() {
        let bpffs = left(&[1, 2, 3]);
        let runs = hold(&home(bpffs.path(), 2)).unwrap();
        let mut released = release_all(bpffs.path()).unwrap();
        released.sort_unstable();
        assert_eq!(released, [1, 3]);
        assert!(home(bpffs.path(), 2).join("layout/watch").exists());
        let refused = release_all(bpffs.path()).unwrap_err();
        assert!(matches!(refused, PinsError::Taken(_)), "{refused}");
        drop(runs);
        assert_eq!(release_all(bpffs.path()).unwrap(), [2]);
        assert!(!bpffs.path().join(FOLDER).exists());
        assert!(release_all(bpffs.path()).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_seen_is_not_said_to_be_nothing() {
        let bpffs = tempfile::tempdir().unwrap();
        // Root is refused nothing else.
        fs::write(bpffs.path().join(FOLDER), "").unwrap();
        assert!(release(bpffs.path(), 1).is_err());
        assert!(release_all(bpffs.path()).is_err());
        let denied = failed("read", bpffs.path())(io::ErrorKind::PermissionDenied.into());
        assert!(denied.to_string().contains("takes root"), "{denied}");
    }
}
