//! What a directory holds, whatever it is and whatever it is called.

use super::*;

#[test]
fn lists_every_kind_and_links_as_links() {
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
        ("to-file", Kind::Symlink),
        ("to-dir", Kind::Symlink),
        ("dangling", Kind::Symlink),
        ("loop", Kind::Symlink),
        ("out", Kind::Symlink),
        ("absolute", Kind::Symlink),
    ]
    .map(|(name, kind)| (name.as_bytes().to_vec(), kind))
    .into();
    assert_eq!(tree.names("/"), expected);
    // In a directory reached by a link.
    let mut listing = tree.vfs.list(&at("to-dir")).unwrap();
    let up = entries(&mut listing, &tree.vfs).next().unwrap();
    assert_eq!((up.kind, &*up.target), (Kind::Symlink, &b"../file"[..]));
    // By name, and as a client that goes through it has it.
    for (name, says) in [
        ("sub/up", "../file"),
        ("out", "../outside/secret"),
        ("loop", "loop"),
    ] {
        let link = tree.vfs.link_metadata(&at(name)).unwrap();
        assert_eq!((link.kind, &*link.target), (Kind::Symlink, says.as_bytes()));
    }
    let file = tree.vfs.metadata(&at("sub/up")).unwrap();
    assert_eq!(
        (file.kind, file.size, &*file.target),
        (Kind::File, 5, &b""[..])
    );
    let root = tree.vfs.link_metadata(&VirtualPath::root()).unwrap();
    assert_eq!((root.kind, root.name.as_slice()), (Kind::Dir, &b"/"[..]));
    refused(tree.vfs.link_metadata(&at("out/x")), ErrorKind::OutsideRoot);
    refused(tree.vfs.link_metadata(&at("none")), ErrorKind::NotFound);
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
    let first = entries(&mut listing, &tree.vfs).next().unwrap();
    // The other names are in the buffer already; their files are not on the disk any more.
    for entry in fs::read_dir(tree.real(".")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert_eq!(first.kind, Kind::File);
    assert_eq!(entries(&mut listing, &tree.vfs).count(), 0);
}

#[test]
fn names_that_are_not_wanted_are_not_looked_at() {
    let tree = Site::new();
    tree.file("a", "");
    let mut listing = tree.vfs.list(&at("/")).unwrap();
    let mut next = |wanted: bool| {
        let mut seen = Vec::new();
        let next = listing.next(&tree.vfs, true, |name| {
            seen = name.to_vec();
            wanted
        });
        (next.unwrap(), seen)
    };
    let (passed, name) = next(false);
    assert!(matches!(passed, Next::Passed), "{passed:?}");
    assert_eq!(name, b"a");
    assert!(matches!(next(true), (Next::End, none) if none.is_empty()));
}

/// As another user's FUSE mount, which root may not look at either: here it is a directory that may be
/// read and not searched.
#[test]
fn what_cannot_be_looked_at_is_a_name_and_spoils_nothing() {
    let tree = Site::new();
    fs::create_dir(tree.real("d")).unwrap();
    tree.file("d/a", "");
    tree.file("d/b", "");
    let user = Owner {
        uid: rustix::process::Uid::from_raw(12_345),
        gid: rustix::process::Gid::from_raw(12_346),
        groups: Vec::new(),
    };
    fs::set_permissions(tree.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(tree.real("d"), fs::Permissions::from_mode(0o744)).unwrap();
    let credentials = Credentials {
        owner: rustix::process::geteuid().is_root().then_some(user),
        umask: None,
    };
    if credentials.owner.is_none() {
        fs::set_permissions(tree.real("d"), fs::Permissions::from_mode(0o400)).unwrap();
    }
    let seen = Tree::open(&tree.real("."), Some(Arc::new(credentials)), None).unwrap();
    let mut seen: Vec<_> = seen
        .act(|vfs| {
            let mut listing = vfs.list(&at("d"))?;
            Ok(entries(&mut listing, vfs)
                .map(|entry| (entry.name, entry.kind))
                .collect())
        })
        .unwrap();
    seen.sort_by(|a, b| a.0.cmp(&b.0));
    fs::set_permissions(tree.real("d"), fs::Permissions::from_mode(0o755)).unwrap();
    let unknown = |name: &[u8]| (name.to_vec(), Kind::Unknown);
    assert_eq!(seen, [unknown(b"a"), unknown(b"b")]);
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
        let upload = tree.vfs.open_write(&at(name), Write::Truncate).unwrap();
        upload.complete().unwrap();
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
