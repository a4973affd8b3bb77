//! Where uploads are stored and closed.

use super::*;
use crate::vfs::{QuotaLimits, Rules, Tree, VirtualPath, Write};
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
            odd: false,
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
            odd: false,
        };
        assert_eq!((splice.ends_long(), splice.is_long()), (long, false));
    }
}
