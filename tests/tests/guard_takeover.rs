//! What a guard does with what the one before has left at work, and needs no more.

use anyhow::{Context as _, Result, ensure};
use ftp_tests::{
    bpffs::Bpffs,
    guarded::{FIRST, guard_in, syn},
    lab::{Lab, Options, THIRD4},
    need_root,
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
    let flags = ["--interface", "s0", "--config", &config, "--ports", "30000-30063"];
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
    let (wire, to) = (lab.client_wire()?, (MOVES.parse::<std::net::IpAddr>()?, FIRST).into());
    wait::poll_within(wait::SOON, "its new host answers", || {
        Ok(syn(&wire, 0, to)?.is_reset().then_some(()))
    })?;
    second.stop()
}
