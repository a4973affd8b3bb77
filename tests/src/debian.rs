//! FTP servers from Debian's archive: fetched with apt, unpacked below the build tree, never installed (the
//! FTP servers' packages exclude each other, and would start daemons).

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::{FlockOperation, flock};

/// An unpacked package.
#[derive(Debug)]
pub struct Unpacked {
    /// Where.
    pub root: PathBuf,
    /// Of the package.
    pub version: String,
}

impl Unpacked {
    /// The program at `path` in the package; an error when a library that it needs is missing.
    pub fn program(&self, path: &str) -> Result<PathBuf> {
        let program = self.root.join(path);
        let libraries = finish(Command::new("ldd").arg(&program))?;
        let missing: Vec<_> = libraries
            .lines()
            .filter(|line| line.contains("not found"))
            .map(str::trim)
            .collect();
        ensure!(
            missing.is_empty(),
            "{path} misses libraries ({}); `cargo xtask setup --tests` installs them",
            missing.join(", ")
        );
        Ok(program)
    }
}

/// Where the tests have what they fetch and do not install, below the build tree.
pub(crate) fn peers() -> Result<PathBuf> {
    // target/<profile>/deps/<test>, or target/<profile>/<program>
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let profile = program
        .ancestors()
        .skip(1)
        .find(|folder| !folder.ends_with("deps"));
    let target = profile
        .and_then(Path::parent)
        .context("this program's file lies in no build tree")?;
    Ok(target.join("test-peers"))
}

/// Unpacks `package` in [`peers`].
pub fn peer(package: &str) -> Result<Unpacked> {
    unpack(package, &peers()?)
}

/// Fetches and unpacks `package` below `folder`, once, whoever else wants it at the same time.
pub fn unpack(package: &str, folder: &Path) -> Result<Unpacked> {
    let root = folder.join(package);
    fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
    let one = fs::File::create(root.join("lock"))
        .with_context(|| format!("cannot make a lock in {}", root.display()))?;
    flock(&one, FlockOperation::LockExclusive)
        .with_context(|| format!("cannot lock {}", root.display()))?;
    let note = root.join("version");
    if let Ok(version) = fs::read_to_string(&note) {
        return Ok(Unpacked { root, version });
    }
    // What an earlier, interrupted attempt fetched.
    for archive in archives(&root)? {
        fs::remove_file(&archive)
            .with_context(|| format!("cannot remove {}", archive.display()))?;
    }
    finish(
        Command::new("apt-get")
            .args(["-q", "download", package])
            .current_dir(&root),
    )?;
    let [archive] = &archives(&root)?[..] else {
        bail!(
            "apt-get download {package} left no single package in {}",
            root.display()
        );
    };
    finish(Command::new("dpkg-deb").arg("-x").arg(archive).arg(&root))?;
    let version = finish(
        Command::new("dpkg-deb")
            .arg("-f")
            .arg(archive)
            .arg("Version"),
    )?;
    fs::write(&note, &version).with_context(|| format!("cannot write {}", note.display()))?;
    Ok(Unpacked { root, version })
}

fn archives(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    Ok(entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect())
}

/// Runs a command to its end and returns what it wrote.
pub(crate) fn finish(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
