//! How much is made in one go.

use super::*;

fn path() -> VirtualPath {
    VirtualPath::root()
}

/// The listing of a directory of `files`, and how many goes it takes.
fn listed(files: usize, argument: &str, sort: bool) -> (String, usize) {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..files {
        std::fs::write(folder.path().join(format!("{number:05}")), "").unwrap();
    }
    let tree = Tree::open(folder.path(), None, None).unwrap();
    let options = ListOptions {
        reverse: sort,
        ..ListOptions::default()
    };
    let format = Format::Name {
        directory: Vec::new(),
    };
    let lines = tree.act(|vfs| {
        let argument = argument.as_bytes();
        Lines::open(
            vfs,
            &path().join(argument)?,
            Some(argument),
            options,
            format,
            None,
        )
    });
    let mut lines = ListingLines::new(tree, lines.unwrap());
    let (mut all, mut goes) = (Vec::new(), 1);
    while lines.produce(&mut all).unwrap() {
        goes += 1;
    }
    (String::from_utf8(all).unwrap(), goes)
}

#[test]
fn what_is_long_is_made_in_several_goes_though_nothing_may_come_of_one() {
    let files = 2 * STEP + 1;
    let (none, goes) = listed(files, "*none", false);
    assert_eq!((none.as_str(), goes), ("", 3));
    let (sorted, goes) = listed(files, "", true);
    assert_eq!(sorted.lines().count(), files);
    assert!(sorted.starts_with(&format!("{:05}\r\n", files - 1)));
    assert!(goes >= 3, "{goes}");
    assert_eq!(listed(10, "", true).1, 1);
}
