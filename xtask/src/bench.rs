//! `cargo xtask bench`: builds the daemon and the bench program with optimisation and becomes the latter.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::Command};

use anyhow::{Result, anyhow};

use crate::{
    build::{self, Profile},
    workspace,
};

/// On success this does not return: the bench program takes this process's place.
pub(crate) fn bench(arguments: Vec<OsString>) -> Result<()> {
    let daemon = build::daemon(Profile::Release, &[])?;
    let bench = build::binary("ftp-bench", "ftp-bench", Profile::Release, &[])?;
    let error = Command::new(&bench)
        .args(arguments)
        .env("PINHOLE_BIN", daemon)
        .env("PINHOLE_BENCH_DIR", workspace::root().join("target/bench"))
        .exec();
    Err(anyhow!(error).context(format!("cannot start {}", bench.display())))
}
