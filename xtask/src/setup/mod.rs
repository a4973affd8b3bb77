//! `cargo xtask setup`: what has to be on this machine, found or installed, one line each. Idempotent,
//! and quick when nothing is missing. Installs distribution packages with apt where it can; everything
//! else goes below `target/tools`. What it cannot do, it says with the command that would.

mod apt;
mod clients;
mod linker;
mod toolchain;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::{
    ebpf::{EbpfTools, RECORD},
    progress::say,
    workspace,
};

/// Finds or installs the eBPF toolchain and writes it down for `ftp-user/build.rs`.
pub(crate) fn build_tools() -> Result<EbpfTools> {
    let mut apt = apt::Apt::new();
    let toolchain = toolchain::find_or_install(&mut apt)?;
    let bpf_linker = linker::find_or_install(&toolchain, &mut apt)?;
    let tools = EbpfTools {
        rustc: toolchain.rustc,
        cargo: toolchain.cargo,
        bpf_linker,
        bootstrap: !toolchain.nightly,
        version: toolchain.version,
    };
    write(&tools)?;
    Ok(tools)
}

/// Finds or installs the clients and network tools that the tests drive.
pub(crate) fn test_tools() -> Result<()> {
    clients::find_or_install(&mut apt::Apt::new())
}

/// The clippy of the eBPF toolchain; the inner error says why there is none.
pub(crate) fn ebpf_clippy(tools: &EbpfTools) -> Result<Result<PathBuf, String>> {
    toolchain::clippy(tools, &mut apt::Apt::new())
}

/// Writes the record, if it says something new: its time stamp decides whether the object is rebuilt.
fn write(tools: &EbpfTools) -> Result<()> {
    let path = workspace::root().join(RECORD);
    let text = format!(
        "# Written by `cargo xtask setup`, read by ftp-user/build.rs. Delete it to have everything looked up again.\n{}",
        toml::to_string(tools).context("cannot write the found tools as TOML")?
    );
    if fs::read_to_string(&path).is_ok_and(|present| present == text) {
        return Ok(());
    }
    fs::create_dir_all(workspace::tools())
        .and_then(|()| fs::write(&path, text))
        .with_context(|| format!("cannot write {}", path.display()))?;
    say(
        "record",
        format_args!("{RECORD} written, ftp-user/build.rs reads it"),
    );
    Ok(())
}
