//! What is counted: all that is there, once, whoever changes it.

use super::*;

#[test]
fn what_is_there_counts_and_every_change_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    fs::write(dir.path().join("d/old"), [0; 40]).unwrap();
    let site = Site::over(dir, quota(100, 5));
    assert_eq!(site.counted(), (40, 2));

    // No way of writing leads beyond it.
    site.put("a", Write::Truncate, 60).unwrap();
    assert_eq!(site.counted(), (100, 3));
    for (name, how) in [
        ("a", Write::Append),
        ("b", Write::Truncate),
        ("a", Write::At(60)),
    ] {
        assert_eq!(
            site.put(name, how, 1),
            Err(ErrorKind::Quota),
            "{name} {how:?}"
        );
    }
    // What is written over is free again; what is written once more costs nothing.
    site.put("a", Write::At(0), 60).unwrap();
    site.put("a", Write::At(30), 30).unwrap();
    assert_eq!(site.put("a", Write::At(30), 31), Err(ErrorKind::Quota));
    site.put("a", Write::Truncate, 10).unwrap();
    site.put("a", Write::Append, 50).unwrap();
    assert_eq!(site.counted(), (100, 3));

    // Names: one that holds nothing is one, too.
    site.put("b", Write::Truncate, 0).unwrap();
    site.act(|vfs| vfs.make_dir(&at("e"))).unwrap();
    assert_eq!(
        site.act(|vfs| vfs.make_dir(&at("f"))),
        Err(ErrorKind::Quota)
    );
    assert_eq!(site.put("c", Write::Truncate, 0), Err(ErrorKind::Quota));
    let unique = site.act(|vfs| vfs.create_unique(&at("d")).map(drop));
    assert_eq!(unique, Err(ErrorKind::Quota));
    site.act(|vfs| vfs.remove_dir(&at("e"))).unwrap();
    site.act(|vfs| vfs.rename(&at("a"), &at("d/old"), true))
        .unwrap();
    assert_eq!(site.counted(), (60, 3));
    site.act(|vfs| vfs.remove_file(&at("d/old"))).unwrap();
    assert_eq!(site.counted(), (0, 2));
    assert_eq!(
        site.act(|vfs| vfs.remove_file(&at("none"))),
        Err(ErrorKind::NotFound)
    );
    assert_eq!(site.counted(), (0, 2));
    assert_eq!(site.tree.act(|vfs| vfs.free_space(&at("/"))).unwrap(), 100);
}

#[test]
fn what_another_process_has_stored_is_counted_when_that_is_told() {
    let rules = quota(100, 10);
    let (counted, _) = rules.quota.clone().unwrap();
    let site = Site::new(rules.clone());
    site.put("own", Write::Truncate, 30).unwrap();
    assert_eq!(site.counted(), (30, 1));
    fs::write(site.real("others"), [0; 50]).unwrap();
    let again = || Tree::open(site.dir.path(), None, Some(Arc::new(rules.clone()))).unwrap();
    drop(again());
    assert_eq!(counted.counted(), (30, 1), "counted for nothing");
    // A change that takes long, for a disk that hangs, holds up nobody who says so.
    let change = counted.ledger(QuotaLimits::default()).unwrap();
    counted.expire();
    drop(change);
    drop(again());
    assert_eq!(site.counted(), (80, 2));
}

#[test]
fn two_processes_keep_to_one_quota() {
    let site = Site::with_quota(100, 10);
    site.put("old", Write::Truncate, 30).unwrap();
    let mut running = site.open("running", Write::Truncate).unwrap();
    store(&mut running, 10).unwrap();
    // A second one over the same files, which counts from here on.
    let rules = quota(100, 10);
    let (counts, _) = rules.quota.clone().unwrap();
    let new = Tree::open(site.dir.path(), None, Some(Arc::new(rules))).unwrap();
    let new = Site {
        dir: tempfile::tempdir().unwrap(),
        tree: new,
        quota: None,
    };
    // On a thread of its own, which is waited for: what comes next is counted by what is told.
    assert_eq!(counts.counted(), (40, 2));
    let (asks, answers) = std::os::unix::net::UnixStream::pair().unwrap();
    let counter = Arc::new(crate::vfs::Counter::new(asks).unwrap());
    let left = site.quota.as_ref().unwrap();
    left.leave_to(&counter, "alice", "/there".into());
    let serving = std::thread::spawn(move || {
        crate::vfs::lend(answers, |account, root| {
            assert_eq!((account, root), ("alice", "/there".into()));
            Arc::clone(&counts)
        })
    });

    // 40 are there, in whichever process.
    assert_eq!(new.put("big", Write::Truncate, 61), Err(ErrorKind::Quota));
    new.put("new", Write::Truncate, 40).unwrap();
    store(&mut running, 15).unwrap();
    assert_eq!(store(&mut running, 6), Err(Errno::DQUOT));
    running.complete().unwrap();
    assert_eq!(site.counted(), (95, 3));
    assert_eq!(new.put("more", Write::Truncate, 6), Err(ErrorKind::Quota));
    site.tree.act(|vfs| vfs.remove_file(&at("new"))).unwrap();
    new.put("more", Write::Truncate, 40).unwrap();
    assert_eq!(site.counted(), (95, 3));
    drop((site, counter));
    serving.join().unwrap().unwrap();
}

#[test]
fn a_process_that_answers_wrong_is_asked_no_more() {
    let site = Site::with_quota(100, 10);
    let (asks, mut answers) = std::os::unix::net::UnixStream::pair().unwrap();
    let counter = Arc::new(crate::vfs::Counter::new(asks).unwrap());
    let left = site.quota.as_ref().unwrap();
    left.leave_to(&counter, "alice", "/there".into());
    // What comes after that may be the answer to another question.
    let late = b"nonsense\n{\"Figures\":{\"bytes\":0,\"files\":0}}\n";
    io::Write::write_all(&mut answers, late).unwrap();
    for _ in 0..2 {
        assert!(site.put("file", Write::Truncate, 1).is_err());
    }
}

#[test]
fn several_sessions_cannot_count_one_file_twice() {
    let site = Site::with_quota(100, 10);
    let mut first = site.open("a", Write::Truncate).unwrap();
    store(&mut first, 60).unwrap();
    // Emptying it now would give back what the other session goes on to fill.
    assert_eq!(
        site.open("a", Write::Truncate).map(drop),
        Err(ErrorKind::Busy)
    );
    assert_eq!(
        site.open("a", Write::Append).map(drop),
        Err(ErrorKind::Busy)
    );
    // Removed while it is written, it takes room until the upload ends.
    site.act(|vfs| vfs.remove_file(&at("a"))).unwrap();
    assert_eq!(site.put("b", Write::Truncate, 41), Err(ErrorKind::Quota));
    store(&mut first, 40).unwrap();
    assert_eq!(store(&mut first, 1), Err(Errno::DQUOT));
    first.complete().unwrap();
    assert_eq!(site.counted(), (0, 0));
    // Many at once come out right.
    std::thread::scope(|scope| {
        for n in 0..4 {
            let site = &site;
            scope.spawn(move || {
                for _ in 0..50 {
                    let _ = site.put(&format!("f{n}"), Write::Truncate, 30);
                    let _ = site.put(&format!("f{n}"), Write::Append, 30);
                    let _ = site.act(|vfs| vfs.rename(&at(&format!("f{n}")), &at("same"), true));
                    let _ = site.act(|vfs| vfs.remove_file(&at("same")));
                }
            });
        }
    });
    assert!(site.counted().0 <= 100);
}

#[test]
fn what_cannot_be_counted_can_be_removed() {
    let dir = tempfile::tempdir().unwrap();
    // Deeper than is walked; a path has room for it.
    let deep = "d/".repeat(600);
    fs::create_dir_all(dir.path().join(&deep)).unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let site = Site::over(dir, quota(1000, 1000));
    assert_eq!(site.put("a", Write::Truncate, 1), Err(ErrorKind::Io));
    assert_eq!(site.act(|vfs| vfs.make_dir(&at("e"))), Err(ErrorKind::Io));
    site.act(|vfs| vfs.remove_file(&at("file"))).unwrap();
    for level in (1..=600).rev() {
        let path = at(&"d/".repeat(level));
        site.act(|vfs| vfs.remove_dir(&path)).unwrap();
    }
    assert!(site.names().is_empty());
    // Counted when the next session begins.
    let rules = Rules {
        quota: site.quota.map(|quota| (quota, QuotaLimits::default())),
        ..Rules::default()
    };
    let site = Site::over(site.dir, rules);
    site.put("a", Write::Truncate, 1).unwrap();
    assert_eq!(site.counted(), (1, 1));
}
