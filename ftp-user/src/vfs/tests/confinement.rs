//! Links lead nowhere outside of the root, however they come and go.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::*;

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
        refused(
            vfs.rename(&inner, &at("stolen"), true),
            ErrorKind::OutsideRoot,
        );
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
    write(
        tree.vfs.open_write(&at("link"), Write::Truncate).unwrap(),
        "",
    );
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
