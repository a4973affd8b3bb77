//! Where uploads are stored and closed, and what becomes of them without a pipe.

use super::*;
use crate::transfer::Monitor;
use crate::transfer::testing::pair;
use crate::vfs::{Credentials, Owner, QuotaLimits, Rules, Tree, VfsError, VirtualPath, Write};
use rustix::process::{Gid, Uid};
use std::io::{Seek as _, Write as _};
use std::sync::Arc;

fn path() -> VirtualPath {
    VirtualPath::root().join(b"file").unwrap()
}

#[test]
fn what_may_wait_for_a_count_is_no_work_for_a_worker() {
    for counted in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let rules = Rules {
            quota: counted.then(|| (Arc::default(), QuotaLimits::default())),
            ..Rules::default()
        };
        let tree = Tree::open(folder.path(), None, Some(Arc::new(rules))).unwrap();
        assert_eq!(tree.is_counted(), counted);
        let open = || tree.act(|vfs| vfs.open_write(&path(), Write::Truncate));
        let splice = SpliceFile {
            upload: open().unwrap(),
            pipe: None,
            copied: false,
        };
        assert_eq!(splice.is_long(), counted);
        assert_eq!(splice.ends_long(), counted);
        // One writer at a time.
        drop(splice);
        let copy = CopyFile {
            store: Store::new(open().unwrap(), Received::AS_THEY_ARE),
            buffer: Vec::new(),
        };
        assert_eq!(copy.is_long(), counted);
        assert_eq!(copy.ends_long(), counted);
    }
}

#[test]
fn the_close_of_what_may_write_much_is_no_work_for_a_worker() {
    let folder = tempfile::tempdir().unwrap();
    let tree = Tree::open(folder.path(), None, None).unwrap();
    for (size, long) in [(0, false), (64 << 10, false), ((64 << 10) + 1, true)] {
        let upload = tree.act(|vfs| vfs.open_write(&path(), Write::Truncate));
        let mut store = Store::new(upload.unwrap(), Received::AS_THEY_ARE);
        store.take(&vec![0; size]).unwrap();
        let buffer = Vec::new();
        let copy = CopyFile { store, buffer };
        assert_eq!(copy.ends_long(), long, "{size}");
        // Each attempt may be none the less.
        assert!(!copy.is_long());
        let splice = SpliceFile {
            upload: copy.store.into_upload(),
            pipe: None,
            copied: false,
        };
        assert_eq!((splice.ends_long(), splice.is_long()), (long, false));
    }
}

/// The kernel counts the pages of all pipes of a user, except for those who may pass over limits.
#[test]
fn beyond_the_hosts_limit_of_pipes_uploads_are_copied() {
    let folder = tempfile::tempdir().unwrap();
    let mut own = tempfile::tempfile().unwrap();
    let nobody = Credentials {
        owner: rustix::process::geteuid().is_root().then(|| Owner {
            uid: Uid::from_raw(12_345),
            gid: Gid::from_raw(12_346),
            groups: Vec::new(),
        }),
        umask: None,
    };
    let limit = std::fs::read_to_string("/proc/sys/fs/pipe-user-pages-soft").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    if limit == 0 {
        eprintln!("skipped: no limit of pipes (fs.pipe-user-pages-soft)");
        return;
    }
    std::os::unix::fs::chown(folder.path(), Some(12_345), None).ok();
    let tree = Tree::open(folder.path(), Some(Arc::new(nobody)), None).unwrap();
    // A page is 4 KiB at least.
    let most = limit / (PIPE / 4096) + 17;
    let mut pipes = Vec::new();
    // Others of this user, such as other tests, may close theirs at any moment.
    for _ in 0..100 {
        let (connection, mut client) = pair(&Monitor::default());
        let mut splice = SpliceFile {
            upload: Upload::into_file(own.try_clone().unwrap()),
            pipe: None,
            copied: false,
        };
        client.write_all(b"copied").unwrap();
        let moved = tree.act(|_| -> Result<_, VfsError> {
            // Large ones, then those of the default size, of which 16 are a large one.
            while pipes.len() < most
                && let Some(pipe) = pipe().unwrap()
            {
                assert!(fcntl_getpipe_size(&pipe.0).unwrap() >= LEAST_PIPE);
                pipes.push(pipe);
            }
            Ok(splice.attempt(connection.link(), usize::MAX))
        });
        if !splice.copied {
            continue;
        }
        assert!(matches!(moved, Ok(Ok(Moved::End))));
        // Nothing has been taken: it is all there for the one that copies.
        let mut copy = CopyFile {
            store: Store::new(splice.upload, Received::AS_THEY_ARE),
            buffer: Vec::new(),
        };
        let moved = copy.attempt(connection.link(), usize::MAX);
        assert!(matches!(moved, Ok(Moved::Some(6))));
        let mut bytes = Vec::new();
        own.rewind().unwrap();
        own.read_to_end(&mut bytes).unwrap();
        assert!(bytes.ends_with(b"copied"), "{bytes:?}");
        return;
    }
    panic!("spliced through a pipe of two pages");
}
