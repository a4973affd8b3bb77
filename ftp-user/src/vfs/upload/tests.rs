//! Uploads against their rules: what is stored, what is refused, what is left, and what is counted.

mod left;
mod old;
mod quota;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;

use super::*;
use crate::vfs::error::ErrorKind;
use crate::vfs::tests::entries;
use crate::vfs::{Tree, Vfs, VfsError};

/// A tree and what its uploads keep to.
struct Site {
    dir: tempfile::TempDir,
    tree: Tree,
    quota: Option<Arc<Quota>>,
}

impl Site {
    fn new(rules: Rules) -> Site {
        Site::over(tempfile::tempdir().unwrap(), rules)
    }

    fn over(dir: tempfile::TempDir, rules: Rules) -> Site {
        let quota = rules.quota.as_ref().map(|(quota, _)| Arc::clone(quota));
        let tree = Tree::open(dir.path(), None, Some(Arc::new(rules))).unwrap();
        Site { dir, tree, quota }
    }

    fn with_quota(bytes: u64, files: u64) -> Site {
        Site::new(quota(bytes, files))
    }

    fn real(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn open(&self, name: &str, how: Write) -> Result<Upload, ErrorKind> {
        let opened = self.tree.act(|vfs| vfs.open_write(&at(name), how));
        opened.map_err(|error| error.kind())
    }

    /// A whole upload.
    fn put(&self, name: &str, how: Write, size: usize) -> Result<(), ErrorKind> {
        let mut upload = self.open(name, how)?;
        store(&mut upload, size).map_err(|errno| match errno {
            Errno::DQUOT => ErrorKind::Quota,
            other => unreachable!("{other}"),
        })?;
        upload.complete().unwrap();
        Ok(())
    }

    fn act(&self, work: impl FnOnce(&Vfs) -> Result<(), VfsError>) -> Result<(), ErrorKind> {
        self.tree.act(work).map_err(|error| error.kind())
    }

    /// What is counted, which has to be what is there.
    fn counted(&self) -> (u64, u64) {
        let counted = self.quota.as_ref().unwrap().counted();
        let root = File::open(self.dir.path()).unwrap().into();
        let census = crate::vfs::census::take(&root, rustix::process::geteuid()).unwrap();
        assert_eq!(counted, (census.bytes, census.files));
        counted
    }

    /// How many names a listing has.
    fn listed(&self) -> usize {
        let listed = self
            .tree
            .act(|vfs| Ok(entries(&mut vfs.list(&at("/"))?, vfs).count()));
        listed.unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }
}

fn quota(bytes: u64, files: u64) -> Rules {
    let limits = QuotaLimits {
        bytes: NonZeroU64::new(bytes),
        files: NonZeroU64::new(files),
    };
    Rules {
        quota: Some((Arc::default(), limits)),
        ..Rules::default()
    }
}

fn at(path: &str) -> VirtualPath {
    VirtualPath::root().join(path.as_bytes()).unwrap()
}

fn store(upload: &mut Upload, size: usize) -> Result<(), Errno> {
    let stored = upload.store(size, |file| file.write_all(&vec![b'x'; size]));
    stored.map_err(|error| Errno::from_io_error(&error).unwrap())
}

#[test]
fn no_file_grows_beyond_the_largest() {
    let site = Site::new(Rules {
        file_size: NonZeroU64::new(10),
        ..Rules::default()
    });
    let mut upload = site.open("a", Write::Truncate).unwrap();
    store(&mut upload, 10).unwrap();
    assert_eq!(store(&mut upload, 1), Err(Errno::FBIG));
    drop(upload);
    assert_eq!(fs::metadata(site.real("a")).unwrap().len(), 10);
    let mut upload = site.open("a", Write::Append).unwrap();
    assert_eq!(store(&mut upload, 1), Err(Errno::FBIG));
    let mut upload = site.open("a", Write::At(5)).unwrap();
    store(&mut upload, 5).unwrap();
    assert_eq!(store(&mut upload, 1), Err(Errno::FBIG));
}

#[test]
fn whole_files_only() {
    let site = Site::new(Rules {
        atomic: true,
        sync: true,
        ..quota(1000, 10)
    });
    fs::write(site.real("a"), "old").unwrap();
    fs::set_permissions(site.real("a"), fs::Permissions::from_mode(0o604)).unwrap();
    let mut upload = site.open("a", Write::Truncate).unwrap();
    store(&mut upload, 5).unwrap();
    assert_eq!(fs::read(site.real("a")).unwrap(), b"old");
    // Nobody sees the other file in a listing.
    assert_eq!(site.names().len(), 2);
    assert_eq!(site.listed(), 1);
    upload.complete().unwrap();
    assert_eq!(fs::read(site.real("a")).unwrap(), b"xxxxx");
    assert_eq!(fs::metadata(site.real("a")).unwrap().mode() & 0o777, 0o604);
    assert_eq!(site.names(), ["a"]);

    let (name, upload) = site.tree.act(|vfs| vfs.create_unique(&at("/"))).unwrap();
    let name = String::from_utf8(name.file_name().unwrap().to_vec()).unwrap();
    assert!(!site.names().contains(&name));
    upload.complete().unwrap();
    assert!(site.names().contains(&name));

    // In place, because that is what they are about.
    site.put("a", Write::Append, 1).unwrap();
    site.put("a", Write::At(2), 1).unwrap();
    symlink("a", site.real("link")).unwrap();
    site.put("link", Write::Truncate, 2).unwrap();
    assert!(site.real("link").is_symlink());
    assert_eq!(fs::read(site.real("a")).unwrap(), b"xx");
}

#[test]
fn what_breaks_off_is_kept_or_removed() {
    for atomic in [false, true] {
        for remove_aborted in [false, true] {
            let site = Site::new(Rules {
                atomic,
                remove_aborted,
                ..quota(1000, 10)
            });
            for name in ["a", "b"] {
                let mut upload = site.open(name, Write::Truncate).unwrap();
                store(&mut upload, 5).unwrap();
                if name == "b" {
                    drop(upload);
                } else {
                    upload.complete().unwrap();
                }
            }
            let left: &[&str] = match (atomic, remove_aborted) {
                (_, true) => &["a"],
                (false, false) => &["a", "b"],
                (true, false) => &["a", "b.part"],
            };
            assert_eq!(site.names(), left);
            // Without a byte there is nothing to keep.
            drop(site.open("c", Write::Truncate).unwrap());
            drop(site.tree.act(|vfs| vfs.create_unique(&at("/"))).unwrap());
            assert_eq!(site.names(), left);
            // What was there before an upload went on with it stays in any case.
            drop(site.open("a", Write::Append).unwrap());
            assert_eq!(site.names(), left);
            assert_eq!(site.counted().1, left.len() as u64);
        }
    }
}

#[test]
fn a_file_that_may_not_be_written_may_not_be_replaced() {
    let site = Site::new(Rules {
        atomic: true,
        ..Rules::default()
    });
    fs::create_dir(site.real("d")).unwrap();
    assert_eq!(
        site.open("d", Write::Truncate).map(drop),
        Err(ErrorKind::IsADirectory)
    );
    assert_eq!(
        site.open("none/a", Write::Truncate).map(drop),
        Err(ErrorKind::NotFound)
    );
    assert_eq!(
        site.open("/", Write::Truncate).map(drop),
        Err(ErrorKind::IsADirectory)
    );
    assert_eq!(site.names(), ["d"]);
}

#[test]
fn only_our_own_temporary_names_are_hidden() {
    assert!(is_temporary(b".pinhole-0123456789abcdef.part"));
    for other in [
        "",
        ".pinhole-.part",
        ".pinhole-0123456789abcdeg.part",
        "a.part",
    ] {
        assert!(!is_temporary(other.as_bytes()), "{other}");
    }
}
