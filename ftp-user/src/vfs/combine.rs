//! Several files become one (COMB), step by step: nobody's thread is held for the whole of it, and of
//! the parts, however many, one is open at a time.

use std::fs::File;
use std::io::{self, Read as _};
use std::time::{Duration, Instant};

use rustix::fs::{fstat, ftruncate};
use rustix::io::Errno;

use super::error::{ErrorKind, Explain as _};
use super::path::VirtualPath;
use super::quota::{Inode, inode};
use super::{Tree, Upload, Vfs, VfsError, Write};

/// Bytes copied before anybody is asked whether to go on.
const CHUNK: u64 = 8 << 20;
const ACTION: &str = "combine into";

/// Parts that are appended to a target, in order, and then removed. Dropped before all is appended, it
/// leaves the target as it was; the parts are as they were unless it was their removal that failed.
#[derive(Debug)]
pub struct Combination {
    tree: Tree,
    target: VirtualPath,
    /// How long the target was, if it was there.
    existed: Option<u64>,
    /// The target, until all is appended.
    into: Option<Upload>,
    parts: Vec<(VirtualPath, Inode)>,
    /// The part whose turn it is, to be appended or to be removed.
    turn: usize,
    /// That part, and how much of it is left.
    from: Option<(File, u64)>,
    copied: u64,
}

/// How far one is after a step.
#[derive(Debug)]
pub enum Combining {
    /// There is more to do.
    More(Box<Combination>),
    /// So many bytes have been appended.
    Done(u64),
}

impl Combination {
    /// Looks whether it can be done, and makes the target if need be.
    pub fn begin(
        tree: &Tree,
        target: VirtualPath,
        parts: Vec<VirtualPath>,
    ) -> Result<Combination, VfsError> {
        tree.act(|vfs| {
            let mut known = Vec::with_capacity(parts.len());
            for part in parts {
                let (_, _, same) = open(vfs, &part)?;
                if known.iter().any(|&(_, other)| other == same) {
                    return Err(VfsError::refused(ACTION, &part, ErrorKind::Exists));
                }
                known.push((part, same));
            }
            let existed = match open(vfs, &target) {
                Ok((_, size, same)) => {
                    if known.iter().any(|&(_, part)| part == same) {
                        return Err(VfsError::refused(ACTION, &target, ErrorKind::Exists));
                    }
                    Some(size)
                }
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            let into = vfs.open_write(&target, Write::Append)?;
            Ok(Combination {
                tree: tree.clone(),
                target,
                existed,
                into: Some(into),
                parts: known,
                turn: 0,
                from: None,
                copied: 0,
            })
        })
    }

    /// Goes on for about so long. `go_on` is told of bytes copied and may say no, which is an error.
    pub fn step(
        mut self,
        time: Duration,
        mut go_on: impl FnMut(usize) -> bool,
    ) -> Result<Combining, VfsError> {
        let begun = Instant::now();
        let tree = self.tree.clone();
        let over = tree.act(|vfs| {
            loop {
                match self.advance(vfs, &mut go_on)? {
                    false if begun.elapsed() < time => {}
                    over => return Ok(over),
                }
            }
        })?;
        Ok(match over {
            true => Combining::Done(self.copied),
            false => Combining::More(Box::new(self)),
        })
    }

    /// Does the next thing. Says whether that was the last.
    fn advance(
        &mut self,
        vfs: &Vfs,
        go_on: &mut impl FnMut(usize) -> bool,
    ) -> Result<bool, VfsError> {
        match (self.parts.get(self.turn), self.into.take()) {
            (Some((part, same)), Some(mut into)) => {
                let appended = append(vfs, part, *same, &mut self.from, &mut into, &self.target);
                self.into = Some(into);
                let count = appended?;
                self.copied += count;
                if self.from.is_none() {
                    self.turn += 1;
                }
                match go_on(usize::try_from(count).unwrap_or(usize::MAX)) {
                    true => Ok(false),
                    false => failed(Errno::CANCELED.into(), &self.target),
                }
            }
            (None, Some(into)) => {
                into.complete()
                    .or_else(|error| failed(error, &self.target))?;
                self.turn = 0;
                Ok(false)
            }
            (Some((part, _)), None) => {
                vfs.remove_file(part)?;
                self.turn += 1;
                Ok(false)
            }
            (None, None) => Ok(true),
        }
    }
}

impl Drop for Combination {
    /// Makes the target as it was: so long, or not there.
    fn drop(&mut self) {
        let Some(mut into) = self.into.take() else {
            return;
        };
        let undone = match self.existed {
            Some(size) => into
                .store(0, |file| Ok(ftruncate(file, size)?))
                .or_else(|error| failed(error, &self.target)),
            None => {
                drop(into);
                self.tree.act(|vfs| vfs.remove_file(&self.target))
            }
        };
        if let Err(error) = undone {
            tracing::error!(target = %self.target, %error, "a failed COMB could not be undone");
        }
    }
}

/// Appends the next bytes of a part and tells how many; `from` is what is left of it then.
fn append(
    vfs: &Vfs,
    part: &VirtualPath,
    same: Inode,
    from: &mut Option<(File, u64)>,
    into: &mut Upload,
    target: &VirtualPath,
) -> Result<u64, VfsError> {
    let (mut file, left) = match from.take() {
        Some(opened) => opened,
        None => {
            let (file, size, found) = open(vfs, part)?;
            if found != same {
                // Another one has taken its name, which may be the target itself.
                return failed(Errno::STALE.into(), part);
            }
            (file, size)
        }
    };
    let count = left.min(CHUNK);
    // In the kernel, by copy_file_range(2), where the file systems allow.
    let copy = |to: &mut File| match io::copy(&mut (&mut file).take(count), to)? {
        copied if copied == count => Ok(()),
        // It became shorter meanwhile.
        _ => Err(Errno::STALE.into()),
    };
    into.store(usize::try_from(count).unwrap_or(usize::MAX), copy)
        .or_else(|error| failed(error, target))?;
    *from = Some((file, left - count)).filter(|&(_, left)| left > 0);
    Ok(count)
}

/// A file, its size, and what it is whatever it is called.
fn open(vfs: &Vfs, path: &VirtualPath) -> Result<(File, u64, Inode), VfsError> {
    let (file, size) = vfs.open_read(path)?;
    let same = inode(&fstat(&file).explain(ACTION, path)?);
    Ok((file, size, same))
}

fn failed<T>(error: io::Error, path: &VirtualPath) -> Result<T, VfsError> {
    let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
    Err(errno).explain(ACTION, path)
}

#[cfg(test)]
mod tests {
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
}
