//! The program's other commands, as an admin runs them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    process::{self, Finished},
    wait,
};

/// The program under test: `PINHOLE_BIN`, else the one built beside this test.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("PINHOLE_BIN") {
        return Ok(path.into());
    }
    // target/<profile>/deps/<test>
    let test = std::env::current_exe().context("cannot find this test's own file")?;
    let profile = test.parent().and_then(Path::parent);
    let binary = profile
        .context("this test's file has no folder")?
        .join("pinhole");
    ensure!(
        binary.is_file(),
        "{} is not built: `cargo xtask test` builds it, or name one in PINHOLE_BIN",
        binary.display()
    );
    Ok(binary)
}

/// Runs `pinhole` with `args` to its end.
pub fn pinhole(args: &[&str], input: &str) -> Result<Finished> {
    let mut command = Command::new(binary()?);
    command.args(args);
    process::run(command, input.as_bytes(), wait::SOON)
}

/// Adds a password user to the users file at `file`, as an admin does.
pub fn add_user(file: &Path, name: &str, password: &str, root: &Path) -> Result<()> {
    let mut command = Command::new(binary()?);
    command
        .args(["user", "add", name, "--root"])
        .arg(root)
        .arg("--file")
        .arg(file);
    process::run(command, format!("{password}\n").as_bytes(), wait::SOON)
        .and_then(Finished::successful)
        .with_context(|| format!("cannot add user {name}"))
        .map(drop)
}

/// Changes a user of the users file at `file`, as an admin does.
pub fn set_user(file: &Path, name: &str, flags: &[&str]) -> Result<()> {
    let mut command = Command::new(binary()?);
    command
        .args(["user", "set", name, "--file"])
        .arg(file)
        .args(flags);
    process::run(command, b"", wait::SOON)
        .and_then(Finished::successful)
        .with_context(|| format!("cannot change user {name}"))
        .map(drop)
}
