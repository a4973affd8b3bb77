//! Running, stopping and crashing: transfers may end, and nothing is left.

use std::{
    fs,
    io::{self, ErrorKind},
    net::SocketAddr,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use aya::{maps::MapInfo, programs::loaded_programs};
use ftp_tests::{
    control::{self, Control},
    daemon::Daemon,
    files,
    lab::{Family, Lab},
    namespace::NetNs,
    need_root,
    site::{self, Site},
    wait,
};
use rustix::process::Signal;

/// The kernel's numbers for what a process holds of `kind` (`map_id`, `prog_id`).
fn held(pid: u32, kind: &str) -> Result<Vec<u32>> {
    let entries = fs::read_dir(format!("/proc/{pid}/fdinfo"))?;
    Ok(entries
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .filter_map(|info| {
            let line = info.lines().find_map(|line| line.strip_prefix(kind))?;
            line.strip_prefix(':')?.trim().parse().ok()
        })
        .collect())
}

/// Every setting of the namespace's network.
fn sysctls(namespace: &NetNs) -> Result<String> {
    let find = "cd /proc/sys/net && grep -rs . ipv4 ipv6 core netfilter unix | sort";
    let found = namespace.tool("sh", &["-c", find], "")?;
    let text = String::from_utf8_lossy(&found.stdout);
    // This one counts.
    let lines = text
        .lines()
        .filter(|line| !line.contains("nf_conntrack_count"));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

fn attached(namespace: &NetNs) -> Result<String> {
    let links = namespace.tool("ip", &["-d", "link", "show"], "")?;
    let disciplines = namespace.tool("tc", &["qdisc", "show"], "")?;
    Ok(format!(
        "{}{}",
        links.transcript(),
        disciplines.transcript()
    ))
}

#[test]
fn nothing_is_left_behind() -> Result<()> {
    need_root!();
    for attach in ["native", "generic", "tcx"] {
        for end in [Some(Signal::TERM), Some(Signal::INT), None] {
            let lab = Lab::new()?;
            let before = (sysctls(&lab.server)?, attached(&lab.server)?);
            let site = Site::in_lab(lab, |settings| settings.set("enforce.attach", attach))?;
            site.put("file", 1000)?;
            let mut session = site.anonymous(Family::V4, 0)?;
            session.retrieve("file")?;
            session.passive()?;
            let pid = site.daemon.pid();
            let (maps, programs) = (held(pid, "map_id")?, held(pid, "prog_id")?);
            ensure!(
                maps.len() >= 5 && programs.len() >= 2,
                "{maps:?} {programs:?}"
            );

            let Site {
                mut daemon, lab, ..
            } = site;
            match end {
                Some(signal) => {
                    daemon.signal(signal)?;
                    let status = daemon.wait(wait::SOON)?.context("it still runs")?;
                    ensure!(status.success(), "{signal:?}: {status}");
                    // The session was told.
                    session.expect_reply(421)?;
                    ensure!(session.until_closed()?.is_empty());
                }
                None => daemon.kill9()?,
            }
            // The kernel frees them when nobody can be using them any more.
            wait::poll_within(wait::SOON, "maps and programs are gone", || {
                let left = maps.iter().any(|id| MapInfo::from_id(*id).is_ok())
                    || loaded_programs()
                        .flatten()
                        .any(|program| programs.contains(&program.id()));
                Ok((!left).then_some(()))
            })
            .with_context(|| format!("{attach}, ended by {end:?}"))?;
            let after = (sysctls(&lab.server)?, attached(&lab.server)?);
            ensure!(before.0 == after.0, "a sysctl has changed");
            ensure!(
                before.1 == after.1,
                "before:\n{}\nafter:\n{}",
                before.1,
                after.1
            );
        }
    }
    Ok(())
}

#[test]
fn a_transfer_may_end_within_the_drain_time() -> Result<()> {
    need_root!();
    for drain in ["20s", "0s"] {
        let site = Site::in_lab(Lab::new()?, |settings| {
            settings.set("timeouts.drain", drain)
        })?;
        let content = site.put("file", 20_000_000)?;
        let mut session = site.anonymous(Family::V4, 0)?;
        let mut idle = site.anonymous(Family::V6, 0)?;
        let hole = session.passive()?;
        session.send(b"RETR file\r\n")?;
        let mut data = session.data(hole)?;
        session.expect_reply(150)?;
        site.daemon.signal(Signal::TERM)?;
        idle.expect_reply(421)?;
        let mut fetched = Vec::new();
        if drain == "20s" {
            // Whoever comes now hears so at once, instead of waiting until the transfers are over.
            wait::poll_within(wait::SOON, "nobody listens any more", || {
                let (from, to) = (
                    site::client_end(Family::V4, 0, 0),
                    site::control_address(Family::V4),
                );
                let tried = control::connect_from(&site.lab.client, from, to, wait::SOON);
                let error = tried
                    .err()
                    .and_then(|error| error.downcast::<io::Error>().ok());
                let refused =
                    error.is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused);
                Ok(refused.then_some(()))
            })?;
            io::Read::read_to_end(&mut data, &mut fetched)?;
            files::ensure_equal("the download", &fetched, &content)?;
            session.expect_reply(226)?;
            session.expect_reply(421)?;
        } else {
            // Heard before the rest is read: it could be over before it is cut.
            session.expect_reply(421)?;
            let _ = io::Read::read_to_end(&mut data, &mut fetched);
            ensure!(fetched.len() < content.len(), "the transfer was not cut");
        }
        let mut daemon = site.daemon;
        let status = daemon.wait(wait::SOON)?.context("it still runs")?;
        ensure!(status.success());
    }
    Ok(())
}

/// What the README shows: on one machine, from one loopback address and another.
#[test]
fn loopback_is_locked_like_any_interface() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    let root = tempfile::tempdir()?;
    let content = files::noise(1, 500_000);
    fs::write(root.path().join("file"), &content)?;
    let served = root.path().to_str().context("UTF-8")?;
    let listen = "127.0.0.1:2121";
    for attach in ["auto", "generic", "tcx"] {
        let daemon = Daemon::start_with_flags(
            &lab.server,
            &[
                "--root",
                served,
                "--listen",
                listen,
                "--interface",
                "lo",
                "--attach",
                attach,
            ],
        )?;
        let from = [127, 0, 0, 1].into();
        let mut session = Control::anonymous(&lab.server, from, listen.parse()?)?;
        let hole = session.passive()?;
        let stranger: SocketAddr = "127.0.0.2:0".parse()?;
        let limit = Duration::from_millis(700);
        let connected = control::connect_from(&lab.server, stranger, hole, limit);
        ensure!(
            connected
                .err()
                .and_then(|error| error.downcast::<io::Error>().ok())
                .is_some_and(|error| error.kind() == ErrorKind::TimedOut),
            "{attach}: 127.0.0.2 was answered"
        );
        let fetched = session.fetch("RETR file", hole)?;
        files::ensure_equal("download", &fetched, &content)?;
        daemon.stop()?;
    }
    Ok(())
}
