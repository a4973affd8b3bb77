//! The roots of trees, each open once however many sessions use it: ten thousand idle sessions need
//! ten thousand descriptors less. Knows nothing of what lies beneath them.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use rustix::fs::{AtFlags, StatxFlags, statx};
use rustix::io::Errno;

/// A directory, and by way of which mount: what one may do beneath it depends on that too. As long
/// as it is open, nothing else is called the same.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Place {
    device: (u32, u32),
    inode: u64,
    mount: u64,
}

static OPEN: LazyLock<Mutex<HashMap<Place, Weak<OwnedFd>>>> = LazyLock::new(Mutex::default);

/// The descriptor that all users of this very directory share: this one, or one opened earlier.
pub(super) fn share(root: OwnedFd) -> Result<Arc<OwnedFd>, Errno> {
    let wanted = StatxFlags::INO | StatxFlags::MNT_ID;
    let stat = statx(&root, c"", AtFlags::EMPTY_PATH, wanted)?;
    let place = Place {
        device: (stat.stx_dev_major, stat.stx_dev_minor),
        inode: stat.stx_ino,
        mount: stat.stx_mnt_id,
    };
    // A map of places is whole after every operation on it.
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(shared) = open.get(&place).and_then(Weak::upgrade) {
        return Ok(shared);
    }
    open.retain(|_, root| root.strong_count() > 0);
    let root = Arc::new(root);
    open.insert(place, Arc::downgrade(&root));
    Ok(root)
}

#[cfg(test)]
mod tests {
    use super::super::resolve;
    use super::*;
    use std::fs;

    #[test]
    fn a_root_is_open_once_and_another_of_its_name_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root");
        fs::create_dir(&path).unwrap();
        let open = || share(resolve::root(&path).unwrap()).unwrap();
        let first = open();
        assert!(Arc::ptr_eq(&first, &open()));
        // The first is still open, so its inode is not used again.
        fs::rename(&path, folder.path().join("old")).unwrap();
        fs::create_dir(&path).unwrap();
        let second = open();
        assert!(!Arc::ptr_eq(&first, &second));
        let weak = Arc::downgrade(&second);
        drop((first, second));
        assert!(weak.upgrade().is_none());
    }
}
