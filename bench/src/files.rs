//! The files that are served, on a tmpfs: no disk is measured. Made when a scenario first asks for them.

use std::{
    fs::{self, File, Permissions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::sandbox::SITE;

/// A folder that every contestant serves.
pub(crate) struct Files {
    root: PathBuf,
}

/// Where uploads go, below the root.
pub(crate) const UPLOADS: &str = "up";

impl Files {
    pub(crate) fn new(memory: &Path) -> Result<Self> {
        let root = memory.join(SITE);
        folder(&root, 0o755)?;
        // Contestants store as users of their own.
        folder(&root.join(UPLOADS), 0o777)?;
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A file of random bytes: nothing on the way can compress it.
    pub(crate) fn random(&self, name: &str, size: u64) -> Result<PathBuf> {
        let path = self.root.join(name);
        if fs::metadata(&path).map(|metadata| metadata.len()).ok() != Some(size) {
            let random = File::open("/dev/urandom").context("cannot open /dev/urandom")?;
            let written = File::create(&path).and_then(|mut file| {
                io::copy(&mut random.take(size), &mut file)?;
                file.set_permissions(Permissions::from_mode(0o644))
            });
            written.with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(path)
    }

    /// A file of a length and no content: as long as a scenario likes, without memory.
    pub(crate) fn sparse(&self, name: &str, size: u64) -> Result<()> {
        let path = self.root.join(name);
        let made = File::create(&path).and_then(|mut file| {
            file.seek(SeekFrom::Start(size - 1))?;
            file.write_all(&[0])?;
            file.set_permissions(Permissions::from_mode(0o644))
        });
        made.with_context(|| format!("cannot make {}", path.display()))
    }

    /// A folder `name` with files `0` to `count - 1` of that size.
    pub(crate) fn many(&self, name: &str, count: u32, size: usize) -> Result<()> {
        let within = self.root.join(name);
        let last = within.join((count - 1).to_string());
        if last.exists() {
            return Ok(());
        }
        folder(&within, 0o755)?;
        let content = vec![b'x'; size];
        for number in 0..count {
            let path = within.join(number.to_string());
            let made = fs::write(&path, &content);
            made.with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// Throws away what was uploaded.
    pub(crate) fn clear_uploads(&self) -> Result<()> {
        let uploads = self.root.join(UPLOADS);
        let cleared = fs::read_dir(&uploads)
            .and_then(|mut entries| entries.try_for_each(|entry| fs::remove_file(entry?.path())));
        cleared.with_context(|| format!("cannot clear {}", uploads.display()))
    }
}

fn folder(path: &Path, mode: u32) -> Result<()> {
    let made = fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)));
    made.with_context(|| format!("cannot make {}", path.display()))
}
