//! What is combined, and what is left as it was.

use super::*;

fn scene(files: &[(&str, &str)]) -> (tempfile::TempDir, Tree) {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    let tree = Tree::open(dir.path(), None, None).unwrap();
    (dir, tree)
}

/// In steps as short as can be; tells how many bytes that were, and how many steps.
fn combine(
    tree: &Tree,
    target: &str,
    parts: &[VirtualPath],
    mut go_on: impl FnMut() -> bool,
) -> Result<(u64, usize), VfsError> {
    let mut combination = Combination::begin(tree, path(target), parts.to_vec())?;
    for steps in 1.. {
        match combination.step(Duration::ZERO, |_| go_on())? {
            Combining::Done(bytes) => return Ok((bytes, steps)),
            Combining::More(more) => combination = *more,
        }
    }
    unreachable!()
}

fn path(text: &str) -> VirtualPath {
    VirtualPath::root().join(text.as_bytes()).unwrap()
}

fn names(dir: &tempfile::TempDir) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn parts_are_appended_in_order_and_go() {
    let (dir, tree) = scene(&[("a", "one "), ("b", "two "), ("t", "zero ")]);
    let content = |name| std::fs::read_to_string(dir.path().join(name)).unwrap();
    let (bytes, steps) = combine(&tree, "t", &[path("b"), path("a")], || true).unwrap();
    // Both are appended, the target is complete, both are removed; and it is over.
    assert_eq!((bytes, steps), (8, 6));
    assert_eq!(content("t"), "zero two one ");
    assert_eq!(names(&dir), ["t"]);
    combine(&tree, "new", &[path("t")], || true).unwrap();
    assert_eq!(content("new"), "zero two one ");
    assert_eq!(names(&dir), ["new"]);
}

#[test]
fn what_cannot_be_done_changes_nothing() {
    let (dir, tree) = scene(&[("a", "one"), ("t", "zero")]);
    std::fs::hard_link(dir.path().join("a"), dir.path().join("again")).unwrap();
    std::fs::create_dir(dir.path().join("d")).unwrap();
    for (target, parts) in [
        ("t", vec!["a", "missing"]),
        ("t", vec!["a", "a"]),
        ("t", vec!["a", "again"]),
        ("t", vec!["a", "t"]),
        ("t", vec!["d"]),
        ("d", vec!["a"]),
        ("new", vec!["missing"]),
    ] {
        let parts: Vec<_> = parts.into_iter().map(path).collect();
        assert!(combine(&tree, target, &parts, || true).is_err());
        assert_eq!(names(&dir), ["a", "again", "d", "t"], "{target} {parts:?}");
        assert_eq!(std::fs::read(dir.path().join("t")).unwrap(), b"zero");
    }
    // Stopped after the first bytes: undone, whether the target was there or not.
    for target in ["t", "new"] {
        assert!(combine(&tree, target, &[path("a")], || false).is_err());
        assert_eq!(names(&dir), ["a", "again", "d", "t"]);
        assert_eq!(std::fs::read(dir.path().join("t")).unwrap(), b"zero");
    }
}

#[test]
fn however_many_parts_there_are_one_is_open_at_a_time() {
    const PARTS: usize = 50;
    let (dir, tree) = scene(&[]);
    let names: Vec<_> = (0..PARTS).map(|n| format!("part{n:02}")).collect();
    for name in &names {
        std::fs::write(dir.path().join(name), name).unwrap();
    }
    let parts: Vec<_> = names.iter().map(|name| path(name)).collect();
    let open = || {
        let all = std::fs::read_dir("/proc/self/fd").unwrap();
        let to = all.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
        to.filter(|to| to.starts_with(dir.path())).count()
    };
    let before = open();
    let mut most = 0;
    let done = combine(&tree, "whole", &parts, || {
        most = most.max(open() - before);
        true
    });
    assert_eq!(done.unwrap().0, 6 * PARTS as u64);
    assert!((1..=2).contains(&most), "{most} beside the root");
    let whole = std::fs::read_to_string(dir.path().join("whole")).unwrap();
    assert_eq!(whole, names.concat());
}

#[test]
fn dropped_on_its_way_it_has_changed_nothing() {
    let (dir, tree) = scene(&[("a", "one"), ("b", "two"), ("t", "zero")]);
    for target in ["t", "new"] {
        let parts = vec![path("a"), path("b")];
        let combination = Combination::begin(&tree, path(target), parts).unwrap();
        let stepped = combination.step(Duration::ZERO, |_| true).unwrap();
        let appended = std::fs::read(dir.path().join(target)).unwrap();
        assert!(appended.ends_with(b"one"), "{appended:?}");
        drop(stepped);
        assert_eq!(names(&dir), ["a", "b", "t"]);
        assert_eq!(std::fs::read(dir.path().join("t")).unwrap(), b"zero");
    }
}

#[test]
fn a_part_that_has_become_another_file_ends_it() {
    let (dir, tree) = scene(&[("a", "one"), ("b", "two"), ("t", "zero")]);
    let parts = vec![path("a"), path("b")];
    let combination = Combination::begin(&tree, path("t"), parts).unwrap();
    // The target itself, for one.
    std::fs::rename(dir.path().join("b"), dir.path().join("c")).unwrap();
    std::fs::hard_link(dir.path().join("t"), dir.path().join("b")).unwrap();
    assert!(combination.step(Duration::from_secs(60), |_| true).is_err());
    assert_eq!(std::fs::read(dir.path().join("t")).unwrap(), b"zero");
    assert_eq!(names(&dir), ["a", "b", "c", "t"]);
}
