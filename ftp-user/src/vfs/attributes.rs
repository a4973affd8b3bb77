//! What a file is besides its content: its times and permissions, and links to it.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, Mode, Timespec, Timestamps, UTIME_OMIT, symlinkat, utimensat};
use rustix::io::Errno;

use super::change::Effect;
use super::entry::{Entry, Kind};
use super::error::{ErrorKind, Explain as _};
use super::path::VirtualPath;
use super::{Vfs, VfsError, resolve};

/// Set-id and sticky bits.
const SPECIAL: u32 = 0o7000;

impl Vfs {
    /// Sets when the file or directory at `path` was last modified, and when last read if that is
    /// given.
    pub fn set_times(
        &self,
        path: &VirtualPath,
        accessed: Option<SystemTime>,
        modified: SystemTime,
    ) -> Result<(), VfsError> {
        let action = "set the times of";
        let (node, _) = self.file_or_directory(path, action)?;
        let times = Timestamps {
            last_access: accessed.map_or(
                Timespec {
                    tv_sec: 0,
                    tv_nsec: UTIME_OMIT,
                },
                timespec,
            ),
            last_modification: timespec(modified),
        };
        // On the descriptor itself (Linux 5.8), so that what was looked at is what is changed.
        utimensat(&node, c"", &times, AtFlags::EMPTY_PATH).explain(action, path)
    }

    /// Sets the permission bits of the file or directory at `path`. A directory's set-id and sticky
    /// bits stay: they are the admin's way to say who owns what is made inside.
    pub fn set_mode(&self, path: &VirtualPath, mode: u32) -> Result<(), VfsError> {
        let action = "set the mode of";
        let (node, entry) = self.file_or_directory(path, action)?;
        let kept = match entry.kind {
            Kind::Dir => entry.mode & SPECIAL,
            Kind::File | Kind::Symlink | Kind::Other | Kind::Unknown => 0,
        };
        let mode = Mode::from_raw_mode(mode & !SPECIAL | kept);
        // fchmod(2) refuses O_PATH, and fchmodat2(2) is younger than the kernels that we run on. This
        // is the descriptor again, by the name that the kernel has for it.
        let name = format!("/proc/self/fd/{}", node.as_raw_fd());
        match rustix::fs::chmodat(CWD, name, mode, AtFlags::empty()) {
            Err(Errno::NOENT) => {
                tracing::error!("SITE CHMOD needs /proc, and there is none");
                Err(Errno::IO)
            }
            done => done,
        }
        .explain(action, path)
    }

    /// Makes the symbolic link `link`, which says `target`.
    ///
    /// A target lies beside the link or below: without "/" in front and without "..". So wherever
    /// links and directories are moved later, no link leads up, and other programs on this host, which
    /// know nothing of our root, cannot be led out of it either.
    pub fn make_link(&self, target: &[u8], link: &VirtualPath) -> Result<(), VfsError> {
        let climbs = target.split(|&byte| byte == b'/').any(|name| name == b"..");
        if target.is_empty() || target.starts_with(b"/") || climbs || target.contains(&0) {
            return Err(VfsError::BadName {
                problem: "a link leads to what is beside it or below",
            });
        }
        self.change(link, "make the link", Effect::Makes, |parent, name| {
            symlinkat(target, parent, name)
        })
    }

    /// What is at `path`, if clients have any business with it.
    fn file_or_directory(
        &self,
        path: &VirtualPath,
        action: &'static str,
    ) -> Result<(OwnedFd, Entry), VfsError> {
        let node = resolve::node(&self.root, path).explain(action, path)?;
        let entry = Entry::of_descriptor(&node, Vec::new()).explain(action, path)?;
        match entry.kind {
            Kind::File | Kind::Dir => Ok((node, entry)),
            Kind::Symlink | Kind::Other | Kind::Unknown => {
                Err(VfsError::refused(action, path, ErrorKind::NotRegular))
            }
        }
    }
}

fn timespec(time: SystemTime) -> Timespec {
    let (seconds, nanos) = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (i64::try_from(after.as_secs()), after.subsec_nanos()),
        // Whole seconds downwards, the fraction upwards from there.
        Err(before) => {
            let before = before.duration();
            let whole = i64::try_from(before.as_secs()).map(|seconds| -seconds);
            match before.subsec_nanos() {
                0 => (whole, 0),
                nanos => (whole.map(|whole| whole - 1), 1_000_000_000 - nanos),
            }
        }
    };
    Timespec {
        // Timestamps have four digits for the year; this cannot be reached.
        tv_sec: seconds.unwrap_or(i64::MAX),
        tv_nsec: nanos.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::Tree;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::sync::Arc;
    use std::time::Duration;

    fn scene() -> (tempfile::TempDir, Arc<Vfs>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("root")).unwrap();
        std::fs::write(dir.path().join("outside"), b"secret").unwrap();
        let vfs = Tree::open(&dir.path().join("root"), None, None)
            .unwrap()
            .vfs;
        (dir, vfs)
    }

    fn path(text: &str) -> VirtualPath {
        VirtualPath::root().join(text.as_bytes()).unwrap()
    }

    #[test]
    fn times_are_set_also_before_1970() {
        let (dir, vfs) = scene();
        let file = dir.path().join("root/a");
        std::fs::write(&file, b"x").unwrap();
        let before = std::fs::metadata(&file).unwrap().atime();
        let moment = UNIX_EPOCH - Duration::from_millis(1500);
        vfs.set_times(&path("a"), None, moment).unwrap();
        let now = std::fs::metadata(&file).unwrap();
        assert_eq!(now.modified().unwrap(), moment);
        assert_eq!(now.atime(), before);
        let moment = UNIX_EPOCH + Duration::from_secs(5);
        vfs.set_times(&path("a"), Some(moment), moment).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().atime(), 5);
        let missing = vfs.set_times(&path("b"), None, moment).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn modes_change_but_directories_keep_their_special_bits() {
        let (dir, vfs) = scene();
        let file = dir.path().join("root/a");
        std::fs::write(&file, b"x").unwrap();
        let mode = |name: &str| {
            let found = std::fs::metadata(dir.path().join("root").join(name)).unwrap();
            found.permissions().mode() & 0o7777
        };
        let set = |name: &str, mode| {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(dir.path().join("root").join(name), permissions).unwrap();
        };
        vfs.set_mode(&path("a"), 0).unwrap();
        assert_eq!(mode("a"), 0);
        set("a", 0o4711);
        vfs.set_mode(&path("a"), 0o755).unwrap();
        assert_eq!(mode("a"), 0o755);
        std::fs::create_dir(dir.path().join("root/d")).unwrap();
        set("d", 0o2755);
        vfs.set_mode(&path("d"), 0o700).unwrap();
        assert_eq!(mode("d"), 0o2700);
    }

    #[test]
    fn links_lead_down_only_and_nothing_outside_is_touched() {
        let (dir, vfs) = scene();
        std::fs::write(dir.path().join("root/a"), b"x").unwrap();
        vfs.make_link(b"./a", &path("l")).unwrap();
        assert!(vfs.open_read(&path("l")).is_ok());
        let taken = vfs.make_link(b"a", &path("l")).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::Exists);
        for target in ["/a", "..", "../outside", "d/../..", "", "a\0"] {
            let refused = vfs.make_link(target.as_bytes(), &path("m")).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::BadName, "{target}");
        }
        // One that was there before: not followed out.
        std::os::unix::fs::symlink("../outside", dir.path().join("root/out")).unwrap();
        let outside = dir.path().join("outside");
        let mode = std::fs::metadata(&outside).unwrap().mode();
        for refused in [
            vfs.set_mode(&path("out"), 0o777),
            vfs.set_times(&path("out"), None, UNIX_EPOCH),
        ] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::OutsideRoot);
        }
        assert_eq!(std::fs::metadata(&outside).unwrap().mode(), mode);
    }
}
