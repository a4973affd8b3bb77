//! Several files become one (COMB).

use std::fs::File;
use std::io::{self, Read as _};

use rustix::fs::{fstat, ftruncate};
use rustix::io::Errno;

use super::error::{ErrorKind, Explain as _};
use super::path::VirtualPath;
use super::{Upload, Vfs, VfsError, Write};

/// Bytes copied before `go_on` is asked again.
const CHUNK: u64 = 8 << 20;
const ACTION: &str = "combine into";

impl Vfs {
    /// Appends `parts` to `target`, in order, and removes them. Returns how many bytes that were.
    ///
    /// `go_on` is told of bytes copied and may say no. Then, and after an error, the target is as it
    /// was, and so are the parts, unless it was their removal that failed.
    pub fn combine(
        &self,
        target: &VirtualPath,
        parts: &[VirtualPath],
        mut go_on: impl FnMut(usize) -> bool,
    ) -> Result<u64, VfsError> {
        let mut sources = Vec::with_capacity(parts.len());
        let mut seen = Vec::new();
        for part in parts {
            let (file, size) = self.open_read(part)?;
            let same = identity(&file, part)?;
            if seen.contains(&same) {
                return Err(VfsError::refused(ACTION, part, ErrorKind::Exists));
            }
            seen.push(same);
            sources.push((part, file, size));
        }
        let existed = match self.open_read(target) {
            Ok((file, size)) => {
                if seen.contains(&identity(&file, target)?) {
                    return Err(VfsError::refused(ACTION, target, ErrorKind::Exists));
                }
                Some(size)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut into = self.open_write(target, Write::Append)?;
        let copied = match append(&mut into, sources, &mut go_on, target) {
            Ok(copied) => copied,
            Err(error) => {
                self.undo(into, target, existed);
                return Err(error);
            }
        };
        into.complete().or_else(|error| failed(error, target))?;
        for part in parts {
            self.remove_file(part)?;
        }
        Ok(copied)
    }

    /// Makes the target as it was: so long, or not there.
    fn undo(&self, mut into: Upload, target: &VirtualPath, existed: Option<u64>) {
        let undone = match existed {
            Some(size) => into
                .store(0, |file| Ok(ftruncate(file, size)?))
                .or_else(|error| failed(error, target)),
            None => {
                drop(into);
                self.remove_file(target)
            }
        };
        if let Err(error) = undone {
            tracing::error!(%target, %error, "a failed COMB could not be undone");
        }
    }
}

fn failed<T>(error: io::Error, target: &VirtualPath) -> Result<T, VfsError> {
    let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
    Err(errno).explain(ACTION, target)
}

fn append(
    into: &mut Upload,
    sources: Vec<(&VirtualPath, File, u64)>,
    go_on: &mut impl FnMut(usize) -> bool,
    target: &VirtualPath,
) -> Result<u64, VfsError> {
    let mut total = 0;
    for (_, mut from, size) in sources {
        let mut left = size;
        while left > 0 {
            let count = left.min(CHUNK);
            // In the kernel, by copy_file_range(2), where the file systems allow.
            let copy = |file: &mut File| match io::copy(&mut (&mut from).take(count), file)? {
                copied if copied == count => Ok(()),
                // It became shorter meanwhile.
                _ => Err(Errno::STALE.into()),
            };
            let size = usize::try_from(count).unwrap_or(usize::MAX);
            into.store(size, copy)
                .or_else(|error| failed(error, target))?;
            left -= count;
            total += count;
            if !go_on(size) {
                return failed(Errno::CANCELED.into(), target);
            }
        }
    }
    Ok(total)
}

/// Two names with the same are one file.
fn identity(file: &File, path: &VirtualPath) -> Result<(u64, u64), VfsError> {
    let stat = fstat(file).explain(ACTION, path)?;
    Ok((stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::Tree;
    use std::sync::Arc;

    fn scene(files: &[(&str, &str)]) -> (tempfile::TempDir, Arc<Vfs>) {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(dir.path().join(name), content).unwrap();
        }
        let vfs = Tree::open(dir.path(), None, None).unwrap().vfs;
        (dir, vfs)
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
        let (dir, vfs) = scene(&[("a", "one "), ("b", "two "), ("t", "zero ")]);
        let content = |name| std::fs::read_to_string(dir.path().join(name)).unwrap();
        let done = vfs.combine(&path("t"), &[path("b"), path("a")], |_| true);
        assert_eq!(done.unwrap(), 8);
        assert_eq!(content("t"), "zero two one ");
        assert_eq!(names(&dir), ["t"]);
        vfs.combine(&path("new"), &[path("t")], |_| true).unwrap();
        assert_eq!(content("new"), "zero two one ");
        assert_eq!(names(&dir), ["new"]);
    }

    #[test]
    fn what_cannot_be_done_changes_nothing() {
        let (dir, vfs) = scene(&[("a", "one"), ("t", "zero")]);
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
            assert!(vfs.combine(&path(target), &parts, |_| true).is_err());
            assert_eq!(names(&dir), ["a", "again", "d", "t"], "{target} {parts:?}");
            assert_eq!(std::fs::read(dir.path().join("t")).unwrap(), b"zero");
        }
        // Stopped after the first bytes: undone, whether the target was there or not.
        for target in ["t", "new"] {
            assert!(vfs.combine(&path(target), &[path("a")], |_| false).is_err());
            assert_eq!(names(&dir), ["a", "again", "d", "t"]);
            assert_eq!(std::fs::read(dir.path().join("t")).unwrap(), b"zero");
        }
    }
}
