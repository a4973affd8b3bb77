//! Work as another user, as root only; and what it costs.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::thread::{CapabilitiesSecureBits, set_capabilities, set_capabilities_secure_bits};

use super::*;

fn somebody() -> Credentials {
    Credentials {
        owner: Some(Owner {
            uid: Uid::from_raw(12_345),
            gid: Gid::from_raw(12_346),
            groups: vec![Gid::from_raw(12_347)],
        }),
        umask: Some(Mode::from_raw_mode(0o027)),
    }
}

fn is_root() -> bool {
    let root = geteuid().is_root();
    if !root {
        eprintln!("skipped: only root may become somebody else");
    }
    root
}

/// Everything that the kernel asks when this thread opens a file.
fn present() -> (Uid, Gid, Vec<Gid>, CapabilitySet, Mode) {
    let umask = rustix::process::umask(Mode::empty());
    rustix::process::umask(umask);
    let effective = capabilities(None).unwrap().effective;
    (geteuid(), getegid(), getgroups().unwrap(), effective, umask)
}

#[test]
fn are_taken_off_however_the_work_ends() {
    if !is_root() {
        return;
    }
    part_thread().unwrap();
    let before = present();
    somebody().try_on().unwrap();
    assert_eq!(present(), before);
    let somebody = somebody();
    let worn = somebody.wear().unwrap();
    let (uid, gid, groups, effective, umask) = present();
    assert_eq!((uid.as_raw(), gid.as_raw()), (12_345, 12_346));
    assert_eq!(groups, [Gid::from_raw(12_347)]);
    assert_eq!(umask, Mode::from_raw_mode(0o027));
    assert!(effective.is_empty(), "{effective:?}");
    // The same once more changes nothing; others are refused; neither undoes anything.
    drop(somebody.wear().unwrap());
    assert_eq!(self::somebody().wear().map(drop), Err(Errno::PERM));
    assert_eq!(geteuid(), uid);
    drop(worn);
    assert_eq!(present(), before);

    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _worn = somebody.wear().unwrap();
        assert_ne!(geteuid(), before.0, "a panic comes next");
        std::panic::resume_unwind(Box::new(()));
    }));
    assert!(panicked.is_err());
    assert_eq!(present(), before);
}

#[test]
fn files_are_made_and_refused_as_the_user() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "root's").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let made = dir.path().join("made");

    let (ask, asked) = std::sync::mpsc::channel();
    let path = secret.clone();
    let other = std::thread::spawn(move || asked.recv().map(|()| fs::read(path).unwrap()));

    let somebody = somebody();
    let worn = somebody.wear().unwrap();
    let refused = fs::read(&secret).unwrap_err();
    fs::write(&made, "").unwrap();
    // Other threads go on with their own meanwhile.
    ask.send(()).unwrap();
    assert_eq!(other.join().unwrap().unwrap(), b"root's");
    drop(worn);

    assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
    let made = fs::metadata(made).unwrap();
    assert_eq!((made.uid(), made.gid()), (12_345, 12_346));
    assert_eq!(made.mode() & 0o777, 0o640);
    assert_eq!(fs::read(&secret).unwrap(), b"root's");
}

/// A daemon that lacks a capability is told so, and goes on as it was.
#[test]
fn without_the_right_to_change_ids_there_is_an_error() {
    if !is_root() {
        return;
    }
    // A thread of its own: what it gives away is gone.
    let poor = std::thread::spawn(|| {
        part_thread().unwrap();
        Credentials::try_on_anybodys().unwrap();
        let all = capabilities(None).unwrap();
        for missing in [CapabilitySet::SETGID, CapabilitySet::SETUID] {
            let mut some = all;
            some.effective -= missing;
            set_capabilities(None, some).unwrap();
            let before = present();
            let tried = Credentials::try_on_anybodys();
            assert!(matches!(tried, Err(CredentialsError::Refused(Errno::PERM))));
            assert_eq!(present(), before);
            set_capabilities(None, all).unwrap();
        }
        // As for a daemon that is not root: a change of users takes no capabilities away.
        set_capabilities_secure_bits(CapabilitiesSecureBits::NO_SETUID_FIXUP).unwrap();
        let tried = Credentials::try_on_anybodys();
        assert!(
            matches!(tried, Err(CredentialsError::Mighty(kept)) if kept == MIGHTY & all.effective)
        );
    });
    poor.join().unwrap();
}

#[test]
fn a_thread_has_the_daemons_umask_whoever_starts_it() {
    let umask = || {
        let umask = rustix::process::umask(Mode::empty());
        rustix::process::umask(umask);
        umask
    };
    let with = |umask| Credentials {
        owner: None,
        umask: Some(Mode::from_raw_mode(umask)),
    };
    part_thread().unwrap();
    let own = umask();
    assert_eq!(own_umask(), Some(own));
    let (open, closed) = (with(0), with(0o077));
    assert_ne!(own, Mode::empty(), "the test needs another one");
    let worn = open.wear().unwrap();
    let later = std::thread::spawn(move || {
        // As work for an account that has one does, in a thread that nobody has parted.
        let worn = closed.wear().unwrap();
        let worn_there = umask();
        drop(worn);
        (worn_there, umask())
    });
    assert_eq!(later.join().unwrap(), (Mode::from_raw_mode(0o077), own));
    assert_eq!(umask(), Mode::empty());
    drop(worn);
    assert_eq!(umask(), own);
}

/// Prints what `docs/TRUST.md` tells; asserts nothing, because machines differ.
#[test]
#[ignore = "a measurement"]
fn what_wearing_costs() {
    const TIMES: u32 = 100_000;
    let somebody = Credentials {
        umask: None,
        ..somebody()
    };
    // Of this thread, whatever else the machine does.
    let cpu_time = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let start = cpu_time();
    for _ in 0..TIMES {
        drop(somebody.wear().unwrap());
    }
    let took = std::time::Duration::try_from(cpu_time() - start).unwrap();
    eprintln!("put on and taken off with {:?} of CPU", took / TIMES);
}
