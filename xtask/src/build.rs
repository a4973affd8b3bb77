//! `cargo xtask build`: the `pinhole` program, eBPF object inside.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context as _, Result, anyhow, bail};
use serde::Deserialize;

use crate::{progress::say, setup, workspace};

/// Cargo's two ways to build.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
}

/// Sets up, builds the daemon, says where it lies, and returns that path.
pub(crate) fn daemon(profile: Profile, features: &[&str]) -> Result<PathBuf> {
    setup::build_tools()?;
    let path = binary("ftp-user", "pinhole", profile, features)?;
    say("built", path.display());
    Ok(path)
}

/// Builds one binary of the workspace and returns its path, wherever cargo's target directory is.
pub(crate) fn binary(
    package: &str,
    name: &str,
    profile: Profile,
    features: &[&str],
) -> Result<PathBuf> {
    let mut cargo = workspace::cargo();
    cargo.args([
        "build",
        "--package",
        package,
        "--bin",
        name,
        "--message-format=json-render-diagnostics",
    ]);
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    for feature in features {
        cargo.args(["--features", feature]);
    }
    // Cargo's own progress and the compiler's words go to the terminal as ever.
    let output = cargo
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("{package} does not build; cargo's words are above");
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok())
        .filter(|artifact| artifact.target.name == name)
        .find_map(|artifact| artifact.executable)
        .ok_or_else(|| anyhow!("cargo built {package}, but does not say where {name} is"))
}

/// What matters here of cargo's "compiler-artifact" message.
#[derive(Deserialize)]
struct Artifact {
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}
