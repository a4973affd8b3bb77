//! What is in no Debian package: fetched with pip from whatever index it is set up with, pinned with its
//! hash, put below the build tree, never installed.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};
use rustix::fs::{FlockOperation, flock};

use crate::debian;

/// What is fetched, and its hashes.
const REQUIREMENTS: &str = include_str!("pypi.txt");

/// pyftpdlib's benchmark, which Debian's package of pyftpdlib leaves out.
#[derive(Debug)]
pub struct Ftpbench {
    /// The script.
    pub script: PathBuf,
    /// `PYTHONPATH` for it.
    pub library: PathBuf,
}

/// Fetches pyftpdlib's benchmark, once, whoever else wants it at the same time. The inner error is why
/// it cannot be had on this machine.
pub fn ftpbench() -> Result<Result<Ftpbench, &'static str>> {
    let root = debian::peers()?.join("pypi");
    fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
    let one = fs::File::create(root.join("lock"))
        .with_context(|| format!("cannot make a lock in {}", root.display()))?;
    flock(&one, FlockOperation::LockExclusive)
        .with_context(|| format!("cannot lock {}", root.display()))?;
    let library = root.join("library");
    let found = Ftpbench {
        script: library.join("bin/ftpbench"),
        library: library.clone(),
    };
    let note = root.join("requirements.txt");
    if fs::read_to_string(&note).is_ok_and(|done| done == REQUIREMENTS) {
        return Ok(Ok(found));
    }
    if debian::finish(Command::new("python3").args(["-m", "pip", "--version"])).is_err() {
        return Ok(Err(
            "ftpbench is fetched with pip, and `python3 -m pip` does not run here; \
             `cargo xtask setup --tests` installs it",
        ));
    }
    // Not the note's name: that is written when all is there.
    let wanted = root.join("wanted.txt");
    fs::write(&wanted, REQUIREMENTS)
        .with_context(|| format!("cannot write {}", wanted.display()))?;
    debian::finish(
        Command::new("python3")
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .args([
                "--no-deps",
                "--require-hashes",
                "--upgrade",
                "--requirement",
            ])
            .arg(&wanted)
            .arg("--target")
            .arg(&library),
    )?;
    fs::rename(&wanted, &note).with_context(|| format!("cannot write {}", note.display()))?;
    Ok(Ok(found))
}
