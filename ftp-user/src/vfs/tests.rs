//! Trees on disk: what is served, what is refused, and that nothing leads out.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

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
        let entries = listing.entries(&self.vfs);
        entries
            .map(|entry| entry.map(|entry| (entry.name, entry.kind)).unwrap())
            .collect()
    }

    fn secret_is_whole(&self) -> bool {
        let outside = self.dir.path().join("outside");
        fs::read(outside.join("secret")).unwrap() == b"secret"
            && fs::read_dir(outside).unwrap().count() == 1
    }
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
fn lists_every_kind_and_shows_links_as_what_they_lead_to() {
    let tree = Site::new();
    fs::create_dir(tree.real("sub")).unwrap();
    tree.file("file", "12345");
    tree.link("file", "to-file");
    tree.link("../file", "sub/up");
    tree.link("sub", "to-dir");
    tree.link("nothing", "dangling");
    tree.link("loop", "loop");
    tree.link("../outside/secret", "out");
    let absolute = tree.real("file");
    tree.link(absolute.to_str().unwrap(), "absolute");
    let expected: BTreeMap<Vec<u8>, Kind> = [
        ("file", Kind::File),
        ("sub", Kind::Dir),
        ("to-file", Kind::File),
        ("to-dir", Kind::Dir),
        ("dangling", Kind::Symlink),
        ("loop", Kind::Symlink),
        ("out", Kind::Symlink),
        ("absolute", Kind::Symlink),
    ]
    .map(|(name, kind)| (name.as_bytes().to_vec(), kind))
    .into();
    assert_eq!(tree.names("/"), expected);
    // A link that climbs within the root, in a directory reached by a link.
    let mut listing = tree.vfs.list(&at("to-dir")).unwrap();
    let up = listing.entries(&tree.vfs).next().unwrap();
    let up = up.unwrap();
    assert_eq!((up.kind, up.size), (Kind::File, 5));
    refused(tree.vfs.list(&at("file")), ErrorKind::NotADirectory);
    refused(tree.vfs.list(&at("none")), ErrorKind::NotFound);
}

#[test]
fn lists_more_entries_than_a_buffer_holds() {
    let tree = Site::new();
    for number in 0..3000 {
        tree.file(format!("{number:0100}"), "");
    }
    assert_eq!(tree.names("/").len(), 3000);
}

#[test]
fn entries_that_disappear_while_listing_are_left_out() {
    let tree = Site::new();
    for number in 0..100 {
        tree.file(format!("{number}"), "");
    }
    let mut listing = tree.vfs.list(&at("/")).unwrap();
    let first = listing.entries(&tree.vfs).next().unwrap().unwrap();
    // The other names are in the buffer already; their files are not on the disk any more.
    for entry in fs::read_dir(tree.real(".")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert_eq!(first.kind, Kind::File);
    assert_eq!(listing.entries(&tree.vfs).count(), 0);
}

#[test]
fn serves_names_byte_for_byte() {
    let tree = Site::new();
    let longest = [b'x'; 255];
    let names: [&[u8]; 6] = [
        b"\xff\xfe not UTF-8",
        "Grüße".as_bytes(),
        b"line\r\nend",
        b" spaces ",
        b"-rf *?[",
        &longest,
    ];
    for name in names {
        drop(tree.vfs.open_write(&at(name), Write::Truncate).unwrap());
        assert!(tree.real(OsStr::from_bytes(name)).exists());
        assert_eq!(tree.vfs.metadata(&at(name)).unwrap().name, name);
        assert!(tree.vfs.open_read(&at(name)).is_ok());
    }
    let listed: Vec<_> = tree.names("/").into_keys().collect();
    assert_eq!(listed.len(), names.len());
    assert!(
        names
            .iter()
            .all(|name| listed.iter().any(|listed| listed == name))
    );
}

#[test]
fn names_too_long_for_the_file_system_are_bad_names() {
    let tree = Site::new();
    let path = at([b'x'; 256]);
    refused(tree.vfs.open_read(&path), ErrorKind::BadName);
    refused(
        tree.vfs.open_write(&path, Write::Truncate),
        ErrorKind::BadName,
    );
    refused(tree.vfs.make_dir(&path), ErrorKind::BadName);
    refused(tree.vfs.metadata(&path), ErrorKind::BadName);
    // The longest path that is text enough: nothing is there, and nothing breaks.
    let deep = at("a/".repeat(2047));
    refused(tree.vfs.metadata(&deep), ErrorKind::NotFound);
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
    refused(vfs.rename(&at("d"), &at("d/sub")), ErrorKind::BadName);
    refused(vfs.rename(&at("none"), &at("x")), ErrorKind::NotFound);
    vfs.rename(&at("d/f"), &at("g")).unwrap();
    tree.file("h", "h");
    vfs.rename(&at("g"), &at("h")).unwrap();
    assert_eq!(fs::read_to_string(tree.real("h")).unwrap(), "f");
    vfs.remove_file(&at("h")).unwrap();
    refused(vfs.remove_file(&at("h")), ErrorKind::NotFound);
    vfs.remove_dir(&at("d")).unwrap();
    for result in [
        vfs.remove_dir(&at("/")),
        vfs.remove_file(&at("/")),
        vfs.rename(&at("/"), &at("x")),
        vfs.rename(&at("x"), &at("/")),
    ] {
        refused(result, ErrorKind::Denied);
    }
    assert!(tree.names("/").is_empty());
}

#[test]
fn links_out_of_the_root_lead_nowhere() {
    let tree = Site::new();
    let outside = tree.dir.path().join("outside");
    tree.link("../outside", "dir");
    tree.link(outside.to_str().unwrap(), "absolute-dir");
    tree.link("../outside/secret", "file");
    tree.link("../outside/new", "new");
    tree.link("/proc/self/root", "magic");
    let vfs = &tree.vfs;
    for dir in ["dir", "absolute-dir", "magic"] {
        refused(vfs.directory(&at(dir)), ErrorKind::OutsideRoot);
        refused(vfs.list(&at(dir)), ErrorKind::OutsideRoot);
        let inner = at(format!("{dir}/secret"));
        refused(vfs.open_read(&inner), ErrorKind::OutsideRoot);
        refused(vfs.metadata(&inner), ErrorKind::OutsideRoot);
        refused(vfs.remove_file(&inner), ErrorKind::OutsideRoot);
        refused(vfs.rename(&inner, &at("stolen")), ErrorKind::OutsideRoot);
        refused(vfs.make_dir(&inner), ErrorKind::OutsideRoot);
        refused(
            vfs.open_write(&inner, Write::Truncate),
            ErrorKind::OutsideRoot,
        );
    }
    for file in ["file", "new"] {
        refused(vfs.open_read(&at(file)), ErrorKind::OutsideRoot);
        refused(
            vfs.open_write(&at(file), Write::Truncate),
            ErrorKind::OutsideRoot,
        );
        // The link itself is the account's own and may go.
        vfs.remove_file(&at(file)).unwrap();
    }
    tree.link("inner", "inner");
    refused(vfs.open_read(&at("inner")), ErrorKind::NotFound);
    assert!(tree.secret_is_whole());
}

#[test]
fn links_inside_the_root_are_followed_for_reading_and_writing() {
    let tree = Site::new();
    fs::create_dir(tree.real("d")).unwrap();
    tree.file("d/f", "old");
    tree.link("d/f", "link");
    tree.link("d/made", "dangling");
    assert_eq!(content(tree.vfs.open_read(&at("link")).unwrap().0), "old");
    drop(tree.vfs.open_write(&at("link"), Write::Truncate).unwrap());
    assert_eq!(fs::read_to_string(tree.real("d/f")).unwrap(), "");
    // A dangling link names a file that may be made, as with open(2).
    drop(
        tree.vfs
            .open_write(&at("dangling"), Write::Truncate)
            .unwrap(),
    );
    assert!(tree.real("d/made").is_file());
    assert!(tree.real("dangling").is_symlink());
}

/// Ends the other thread when a test ends, by a failed assertion too.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn nothing_leads_out_while_links_are_swapped() {
    let tree = Site::new();
    // "x" is now a directory of the tree, now a link to the directory outside; "y" is such a link
    // behind a "..", where openat2 has to start over (EAGAIN).
    fs::create_dir(tree.real("in")).unwrap();
    fs::create_dir(tree.real("dir")).unwrap();
    tree.file("dir/secret", "public");
    tree.link("../outside", "link");
    tree.link("in/../dir", "y");
    let stop = AtomicBool::new(false);
    let (mut served, mut refusals) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let exchange = |a: &str, b: &str| {
                let _ = rustix::fs::renameat_with(
                    rustix::fs::CWD,
                    tree.real(a),
                    rustix::fs::CWD,
                    tree.real(b),
                    rustix::fs::RenameFlags::EXCHANGE,
                );
            };
            while !stop.load(Ordering::Relaxed) {
                exchange("dir", "link");
            }
        });
        let _stop = StopOnDrop(&stop);
        let deadline = Instant::now() + Duration::from_secs(20);
        // Until both have been seen often, so that the race was a race.
        while (served < 500 || refusals < 500) && Instant::now() < deadline {
            for path in ["dir/secret", "link/secret", "y/secret"] {
                match tree.vfs.open_read(&at(path)) {
                    Ok((file, _)) => {
                        assert_eq!(content(file), "public");
                        served += 1;
                    }
                    Err(error) => {
                        assert!(
                            matches!(error.kind(), ErrorKind::OutsideRoot | ErrorKind::Busy),
                            "{error}"
                        );
                        refusals += 1;
                    }
                }
                if let Ok(upload) = tree.vfs.open_write(&at(path), Write::Truncate) {
                    write(upload, "public");
                }
                let new = path.replace("secret", "new");
                let _ = tree.vfs.make_dir(&at(&new));
                let _ = tree.vfs.remove_dir(&at(&new));
            }
        }
    });
    assert!(tree.secret_is_whole());
    assert!(served >= 500 && refusals >= 500, "{served} {refusals}");
}
