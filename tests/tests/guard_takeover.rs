//! What a guard does with what the one before has left at work, and needs no more.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use ftp_tests::{
    bpffs::Bpffs,
    guarded::{FIRST, Scene, guard_in, syn},
    lab::{Lab, Options, THIRD4},
    need_root,
    peer::Brand,
    wait,
};

/// An address that moves from the host to another one behind it while no guard runs.
#[test]
fn an_address_that_has_left_the_host_is_no_longer_guarded() -> Result<()> {
    const MOVES: &str = "10.99.0.5";
    need_root!();
    let (bpffs, folder) = (Bpffs::new()?, tempfile::tempdir()?);
    let config = bpffs.config_of_guard(folder.path())?;
    let lab = Lab::with(Options {
        third: true,
        ..Options::default()
    })?;
    let third = lab.third.as_ref().context("a third host")?;
    lab.server.sysctl("net/ipv4/ip_forward", "1")?;
    lab.server.ip(&format!("addr add {MOVES}/32 dev lo\n"))?;
    let flags = [
        "--interface",
        "s0",
        "--config",
        &config,
        "--ports",
        "30000-30063",
    ];
    guard_in(&lab.server, &flags)?.kill9()?;
    lab.server.ip(&format!(
        "addr del {MOVES}/32 dev lo\nroute add {MOVES}/32 via {THIRD4}\n"
    ))?;
    third.ip(&format!("addr add {MOVES}/32 dev t0\n"))?;
    let second = guard_in(&lab.server, &flags)?;
    ensure!(
        second.has_said(|line| line.contains("taking over")),
        "{}",
        second.log()
    );
    let (wire, to) = (
        lab.client_wire()?,
        (MOVES.parse::<std::net::IpAddr>()?, FIRST).into(),
    );
    wait::poll_within(wait::SOON, "its new host answers", || {
        Ok(syn(&wire, 0, to)?.is_reset().then_some(()))
    })?;
    second.stop()
}

/// Watching reads costs every TCP receive of the host: it goes with the server that needs it.
#[test]
fn reads_are_not_watched_for_a_server_that_has_gone() -> Result<()> {
    need_root!();
    let (bpffs, folder) = (Bpffs::new()?, tempfile::tempdir()?);
    let config = bpffs.config_of_guard(folder.path())?;
    let flags = ["--config", &config];
    let guarded = Scene {
        flags: &flags,
        ..Scene::of(Brand::Pyftpdlib)
    }
    .start()?;
    let (lab, server, _root) = guarded.kill_guard()?;
    let home = Path::new(&bpffs.path()).join("pinhole-guard");
    ensure!(has_pin(&home, "reads")?, "reads are not watched at all");
    server.context("a server")?.terminate()?;
    let second = guard_in(&lab.server, &["--interface", "s0", "--config", &config])?;
    ensure!(has_pin(&home, "watch")?, "nothing is pinned any more");
    ensure!(!has_pin(&home, "reads")?, "reads are watched for nobody");
    second.stop()
}

/// Whether anything of that name is pinned below a folder.
fn has_pin(folder: &Path, name: &str) -> Result<bool> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = match entry.file_type()?.is_dir() {
            true => has_pin(&entry.path(), name)?,
            false => entry.file_name() == name,
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}
