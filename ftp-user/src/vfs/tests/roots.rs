//! Roots of accounts that are used as a user of the host: whose rights open them. As root only.

use std::os::unix::fs::{chown, lchown};
use std::path::Path;
use std::thread;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use super::*;

const USER: u32 = 12_345;

fn somebody() -> Option<Arc<Credentials>> {
    let gid = Gid::from_raw(USER);
    Some(Arc::new(Credentials {
        owner: Some(Owner {
            uid: Uid::from_raw(USER),
            gid,
            groups: vec![gid],
        }),
        umask: None,
    }))
}

/// A folder that everybody may search, in it `home`, that user's alone, and `vault`, root's alone;
/// each has a directory `site` that is open to all. `None`: we are not root.
fn folder() -> Option<TempDir> {
    if !geteuid().is_root() {
        eprintln!("skipped: only root may become somebody else");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(folder.path(), 0o755);
    for (name, owner) in [("home", USER), ("vault", 0)] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.join("site")).unwrap();
        mode(&path.join("site"), 0o755);
        mode(&path, 0o700);
        chown(&path, Some(owner), Some(owner)).unwrap();
    }
    Some(folder)
}

/// The shipped unit grants no `CAP_DAC_OVERRIDE`.
#[test]
fn in_a_home_that_is_shut_to_the_daemon() {
    let Some(folder) = folder() else { return };
    let site = folder.path().join("home/site");
    // A thread of its own: what it gives away is gone.
    let poor = thread::spawn(move || {
        let mut few = capabilities(None).unwrap();
        let mighty = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
        few.effective -= mighty;
        few.permitted -= mighty;
        set_capabilities(None, few).unwrap();
        assert!(Tree::open(&site, None, None).is_err(), "the home is shut");
        Tree::open(&site, somebody(), None).map(drop)
    });
    poor.join().unwrap().unwrap();
}

#[test]
fn behind_directories_of_the_daemon_alone_but_by_no_link_of_the_user() {
    let Some(folder) = folder() else { return };
    let (home, vault) = (folder.path().join("home"), folder.path().join("vault"));
    let open = |path: &Path| Tree::open(path, somebody(), None).map(drop);
    open(&vault.join("site")).unwrap();
    open(&vault.join("../vault/./site/")).unwrap();
    for (name, target) in [
        ("absolute", vault.join("site")),
        ("relative", "../vault/site".into()),
    ] {
        let link = home.join(name);
        symlink(&target, &link).unwrap();
        // Root's own says what the admin wants.
        open(&link).unwrap();
        lchown(&link, Some(USER), Some(USER)).unwrap();
        let refused = open(&link).unwrap_err();
        assert!(
            matches!(
                refused,
                VfsError::Root {
                    source: Errno::ACCESS,
                    ..
                }
            ),
            "{refused}"
        );
    }
    // Where they may go by themselves, their links lead them as ever.
    let own = home.join("own");
    symlink("site", &own).unwrap();
    lchown(&own, Some(USER), Some(USER)).unwrap();
    open(&own).unwrap();
    symlink("loop", vault.join("loop")).unwrap();
    let refused = open(&vault.join("loop")).unwrap_err();
    assert!(
        matches!(
            refused,
            VfsError::Root {
                source: Errno::LOOP,
                ..
            }
        ),
        "{refused}"
    );
}
