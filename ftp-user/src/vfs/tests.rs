//! Trees on disk: what is served, what is refused, and that nothing leads out.

mod confinement;
mod listing;
mod roots;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use tempfile::TempDir;

use super::*;

/// `outside/secret` beside `root`, which is what is served.
struct Site {
    dir: TempDir,
    vfs: Arc<Vfs>,
}

impl Site {
    fn new() -> Site {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/secret"), "secret").unwrap();
        let vfs = Tree::open(&dir.path().join("root"), None, None)
            .unwrap()
            .vfs;
        Site { dir, vfs }
    }

    fn real(&self, path: impl AsRef<OsStr>) -> PathBuf {
        self.dir.path().join("root").join(path.as_ref())
    }

    fn file(&self, path: impl AsRef<OsStr>, content: &str) {
        fs::write(self.real(path), content).unwrap();
    }

    fn link(&self, target: &str, path: &str) {
        symlink(target, self.real(path)).unwrap();
    }

    fn names(&self, path: &str) -> BTreeMap<Vec<u8>, Kind> {
        let mut listing = self.vfs.list(&at(path)).unwrap();
        let entries = entries(&mut listing, &self.vfs);
        entries.map(|entry| (entry.name, entry.kind)).collect()
    }

    fn secret_is_whole(&self) -> bool {
        let outside = self.dir.path().join("outside");
        fs::read(outside.join("secret")).unwrap() == b"secret"
            && fs::read_dir(outside).unwrap().count() == 1
    }
}

/// What is in a directory from here on.
pub(super) fn entries(listing: &mut Listing, vfs: &Vfs) -> impl Iterator<Item = Entry> {
    std::iter::from_fn(|| {
        loop {
            match listing.next(vfs, true, |_| true).unwrap() {
                Next::Found(entry) => return Some(entry),
                Next::Passed => {}
                Next::End => return None,
            }
        }
    })
}

fn at(path: impl AsRef<[u8]>) -> VirtualPath {
    VirtualPath::root().join(path.as_ref()).unwrap()
}

#[track_caller]
fn refused<T>(result: Result<T, VfsError>, kind: ErrorKind) {
    match result {
        Ok(_) => unreachable!("should have been refused with {kind:?}"),
        Err(error) => assert_eq!(error.kind(), kind, "{error}"),
    }
}

fn content(mut file: File) -> String {
    let mut content = String::new();
    file.read_to_string(&mut content).unwrap();
    content
}

fn write(mut upload: Upload, text: &str) {
    let stored = upload.store(text.len(), |file| file.write_all(text.as_bytes()));
    stored.and_then(|()| upload.complete()).unwrap();
}

#[test]
fn a_root_must_be_a_directory() {
    let tree = Site::new();
    refused(
        Tree::open(&tree.real("nothing"), None, None),
        ErrorKind::NotFound,
    );
    tree.file("file", "");
    refused(
        Tree::open(&tree.real("file"), None, None),
        ErrorKind::NotADirectory,
    );
    // The admin may point to it through a link, an absolute one too.
    symlink(tree.real("."), tree.dir.path().join("link")).unwrap();
    let vfs = Tree::open(&tree.dir.path().join("link"), None, None)
        .unwrap()
        .vfs;
    assert!(vfs.open_read(&at("file")).is_ok());
}

#[test]
fn reads_regular_files_and_tells_their_size() {
    let tree = Site::new();
    tree.file("a", "hello");
    let (file, size) = tree.vfs.open_read(&at("a")).unwrap();
    assert_eq!(size, 5);
    let flags = rustix::fs::fcntl_getfl(&file).unwrap();
    assert!(!flags.contains(OFlags::NONBLOCK));
    assert_eq!(content(file), "hello");
    refused(tree.vfs.open_read(&at("b")), ErrorKind::NotFound);
    refused(tree.vfs.open_read(&at("a/b")), ErrorKind::NotADirectory);
    refused(tree.vfs.open_read(&at("/")), ErrorKind::IsADirectory);
}

#[test]
fn fifos_sockets_and_devices_are_never_opened() {
    let tree = Site::new();
    let fifo = FileType::Fifo;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        tree.real("fifo"),
        fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.real("socket")).unwrap();
    for name in ["fifo", "socket"] {
        refused(tree.vfs.open_read(&at(name)), ErrorKind::NotRegular);
        for how in [Write::Truncate, Write::Append, Write::At(0), Write::At(1)] {
            refused(tree.vfs.open_write(&at(name), how), ErrorKind::NotRegular);
        }
        assert_eq!(tree.names("/").get(name.as_bytes()), Some(&Kind::Other));
    }
}

#[test]
fn metadata_tells_what_stat_tells() {
    let tree = Site::new();
    tree.file("a", "hello");
    fs::set_permissions(tree.real("a"), fs::Permissions::from_mode(0o4640)).unwrap();
    fs::hard_link(tree.real("a"), tree.real("b")).unwrap();
    for time in [
        UNIX_EPOCH + Duration::new(1_234_567_890, 5),
        UNIX_EPOCH - Duration::from_secs(3),
        UNIX_EPOCH - Duration::new(3, 250),
    ] {
        let file = File::options().write(true).open(tree.real("a")).unwrap();
        file.set_modified(time).unwrap();
        let entry = tree.vfs.metadata(&at("a")).unwrap();
        assert_eq!(entry.modified, time);
        assert_eq!((entry.kind, entry.size), (Kind::File, 5));
        assert_eq!((entry.mode, entry.nlink), (0o4640, 2));
        let other = tree.vfs.metadata(&at("b")).unwrap();
        assert_eq!((entry.dev, entry.ino), (other.dev, other.ino));
        let seen = fs::metadata(tree.real("a")).unwrap();
        use std::os::unix::fs::MetadataExt as _;
        assert_eq!((entry.dev, entry.ino), (seen.dev(), seen.ino()));
        assert_eq!((entry.uid, entry.gid), (seen.uid(), seen.gid()));
    }
    let root = tree.vfs.metadata(&VirtualPath::root()).unwrap();
    assert_eq!(
        (root.name.as_slice(), root.kind),
        (b"/".as_slice(), Kind::Dir)
    );
    assert!(tree.vfs.free_space(&at("/")).unwrap() > 0);
}

#[test]
fn writes_where_it_was_told_to() {
    let tree = Site::new();
    let path = at("a");
    let put = |how, text: &str| -> Result<(), VfsError> {
        write(tree.vfs.open_write(&path, how)?, text);
        Ok(())
    };
    let is = |text: &str| assert_eq!(fs::read_to_string(tree.real("a")).unwrap(), text);

    refused(put(Write::At(1), "no"), ErrorKind::NotFound);
    put(Write::Truncate, "hello").unwrap();
    put(Write::Truncate, "hey").unwrap();
    is("hey");
    put(Write::Append, " you").unwrap();
    is("hey you");
    put(Write::At(4), "U").unwrap();
    is("hey Uou");
    put(Write::At(7), "!").unwrap();
    is("hey Uou!");
    refused(put(Write::At(9), "no"), ErrorKind::Offset);
    refused(put(Write::At(u64::MAX), "no"), ErrorKind::Offset);
    is("hey Uou!");
    put(Write::At(0), "H").unwrap();
    is("Hey Uou!");
    fs::remove_file(tree.real("a")).unwrap();
    put(Write::Append, "new").unwrap();
    is("new");

    refused(
        tree.vfs.open_write(&at("/"), Write::Truncate),
        ErrorKind::IsADirectory,
    );
    fs::create_dir(tree.real("d")).unwrap();
    refused(
        tree.vfs.open_write(&at("d"), Write::Append),
        ErrorKind::IsADirectory,
    );
    refused(
        tree.vfs.open_write(&at("none/a"), Write::Truncate),
        ErrorKind::NotFound,
    );
}

#[test]
fn unique_files_are_new_and_inside_the_directory() {
    let tree = Site::new();
    fs::create_dir(tree.real("d")).unwrap();
    let (first, upload) = tree.vfs.create_unique(&at("d")).unwrap();
    write(upload, "1");
    let (second, _) = tree.vfs.create_unique(&at("d")).unwrap();
    assert_ne!(first, second);
    assert_eq!(first.parent(), at("d"));
    assert_eq!(content(tree.vfs.open_read(&first).unwrap().0), "1");
    refused(tree.vfs.create_unique(&at("none")), ErrorKind::NotFound);
    tree.link("../outside", "out");
    refused(tree.vfs.create_unique(&at("out")), ErrorKind::OutsideRoot);
}

#[test]
fn makes_removes_and_renames() {
    let tree = Site::new();
    let vfs = &tree.vfs;
    vfs.make_dir(&at("d")).unwrap();
    refused(vfs.make_dir(&at("d")), ErrorKind::Exists);
    refused(vfs.make_dir(&at("/")), ErrorKind::Exists);
    refused(vfs.make_dir(&at("x/y")), ErrorKind::NotFound);
    vfs.directory(&at("d")).unwrap();
    tree.file("d/f", "f");
    refused(vfs.directory(&at("d/f")), ErrorKind::NotADirectory);
    refused(vfs.remove_dir(&at("d")), ErrorKind::NotEmpty);
    refused(vfs.remove_dir(&at("d/f")), ErrorKind::NotADirectory);
    refused(vfs.remove_file(&at("d")), ErrorKind::IsADirectory);
    refused(vfs.rename(&at("d"), &at("d/sub"), true), ErrorKind::BadName);
    refused(vfs.rename(&at("none"), &at("x"), true), ErrorKind::NotFound);
    vfs.rename(&at("d/f"), &at("g"), true).unwrap();
    tree.file("h", "h");
    vfs.rename(&at("g"), &at("h"), true).unwrap();
    assert_eq!(fs::read_to_string(tree.real("h")).unwrap(), "f");
    vfs.remove_file(&at("h")).unwrap();
    refused(vfs.remove_file(&at("h")), ErrorKind::NotFound);
    vfs.remove_dir(&at("d")).unwrap();
    for result in [
        vfs.remove_dir(&at("/")),
        vfs.remove_file(&at("/")),
        vfs.rename(&at("/"), &at("x"), true),
        vfs.rename(&at("x"), &at("/"), true),
    ] {
        refused(result, ErrorKind::Denied);
    }
    assert!(tree.names("/").is_empty());
}
