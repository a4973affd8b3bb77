//! What the units in `dist/` say to systemd, as far as systemd can judge it without running them.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use ftp_tests::{daemon, process, skip, wait};

/// Where the units have the program, unless a package puts it elsewhere.
const INSTALLED: &str = "/usr/local/bin/pinhole";

/// What systemd has to say against the units, each with `add` at the end of its `[Service]` or
/// `[Socket]`.
fn verify(add: &str) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let program = daemon::binary()?;
    let program = program.to_str().context("a path that is no text")?;
    let mut command = Command::new("systemd-analyze");
    command.arg("verify");
    let units = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../dist"));
    let mut count = 0;
    for entry in fs::read_dir(units)? {
        let unit = entry?.path();
        if !unit
            .extension()
            .is_some_and(|kind| kind == "service" || kind == "socket")
        {
            continue;
        }
        let text = fs::read_to_string(&unit)?.replace(INSTALLED, program);
        let text = text.replace("\n[Install]", &format!("{add}\n[Install]"));
        let copy = folder.path().join(unit.file_name().context("no name")?);
        fs::write(&copy, text)?;
        command.arg(copy);
        count += 1;
    }
    ensure!(count == 4, "{count} units");
    let finished = process::run(command, b"", wait::SOON)?;
    // It ends well where a setting is unknown.
    Ok(finished.transcript())
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() -> Result<()> {
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        skip!("there is no systemd-analyze");
    }
    let said = verify("")?;
    ensure!(said.is_empty(), "{said}");
    let said = verify("Portal=yes\n")?;
    ensure!(said.matches("Portal").count() == 4, "{said}");
    Ok(())
}
