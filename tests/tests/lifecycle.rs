//! Starting, refusing to start, stopping and crashing: what is said, and that nothing is left.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use aya::{maps::MapInfo, programs::loaded_programs};
use ftp_tests::{
    control::{self, Control},
    daemon::{self, Daemon},
    files,
    lab::{self, Family, Lab},
    namespace::NetNs,
    need_root, process,
    settings::Settings,
    site::{Site, client_end, server_end},
    wait,
    wire::Answer,
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
        let read = std::io::Read::read_to_end(&mut data, &mut fetched);
        if drain == "20s" {
            read?;
            files::ensure_equal("the download", &fetched, &content)?;
            session.expect_reply(226)?;
        } else {
            ensure!(fetched.len() < content.len(), "the transfer was not cut");
        }
        session.expect_reply(421)?;
        let mut daemon = site.daemon;
        let status = daemon.wait(wait::SOON)?.context("it still runs")?;
        ensure!(status.success());
    }
    Ok(())
}

/// Runs the daemon without any capability, as a user without root would.
fn powerless(namespace: &NetNs, args: &[&str]) -> Result<std::process::Command> {
    let mut command = namespace.command("setpriv");
    command
        .args(["--bounding-set=-all", "--inh-caps=-all", "--"])
        .arg(daemon::binary()?)
        .args(args);
    Ok(command)
}

#[test]
fn without_privilege_it_refuses_and_says_what_is_missing() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    let root = tempfile::tempdir()?;
    let served = root.path().to_str().context("UTF-8")?;
    let args = ["serve", "--root", served, "--listen", "127.0.0.1:2121"];
    let refused = process::run(powerless(&lab.server, &args)?, b"", wait::SOON)?;
    let said = refused.transcript();
    ensure!(!refused.status.success(), "it runs:\n{said}");
    ensure!(
        said.contains("CAP_BPF"),
        "it does not say what is missing:\n{said}"
    );
    Ok(())
}

#[test]
fn enforce_off_needs_no_privilege_and_warns() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    let root = tempfile::tempdir()?;
    let content = files::noise(1, 500_000);
    fs::write(root.path().join("file"), &content)?;
    let served = root.path().to_str().context("UTF-8")?;
    let args = [
        "serve",
        "--root",
        served,
        "--listen",
        "[::]:2121",
        "--enforce",
        "off",
        "--passive-ports",
        "30000-30015",
    ];
    let daemon = Daemon::start_command(powerless(&lab.server, &args)?, tempfile::tempdir()?)?;
    ensure!(
        daemon.has_said(|line| line.contains("WARN") && line.contains("nforce")),
        "no loud warning:\n{}",
        daemon.log()
    );
    for family in Family::BOTH {
        let from = lab::client_address(family, 0);
        let mut session = Control::anonymous(&lab.client, from, server_end(family, 2121))?;
        files::ensure_equal("download", &session.retrieve("file")?, &content)?;
        // Even so a stranger gets nothing: his connection is closed unheard.
        let hole = session.passive()?;
        session.send(b"RETR file\r\n")?;
        let stranger = lab::client_address(family, 1);
        let mut stolen = Vec::new();
        if let Ok(mut stream) = control::connect(&lab.client, stranger, hole) {
            // Reset or end, as it comes.
            let _ = std::io::Read::read_to_end(&mut stream, &mut stolen);
        }
        ensure!(stolen.is_empty(), "a stranger got {} bytes", stolen.len());
        let mut data = session.data(hole)?;
        session.expect_reply(150)?;
        let mut fetched = Vec::new();
        std::io::Read::read_to_end(&mut data, &mut fetched)?;
        session.expect_reply(226)?;
        files::ensure_equal("the client's own", &fetched, &content)?;
    }
    daemon.stop()
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
                .and_then(|error| error.downcast::<std::io::Error>().ok())
                .is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut),
            "{attach}: 127.0.0.2 was answered"
        );
        let fetched = session.fetch("RETR file", hole)?;
        files::ensure_equal("download", &fetched, &content)?;
        daemon.stop()?;
    }
    Ok(())
}

/// Another service inside the range is shut off by the lock: the administrator hears of it, and may
/// leave its port out.
#[test]
fn another_listener_in_the_range_is_named() -> Result<()> {
    need_root!();
    for (ports, excluded) in [("30000-30015", false), ("30000-30015,!30005", true)] {
        let lab = Lab::new()?;
        let other = server_end(Family::V4, 30005);
        let _listener = lab.server.run(|| TcpListener::bind(other))??;
        let site = Site::in_lab(lab, |settings| settings.set("passive.ports", ports))?;
        let own_name = fs::read_to_string("/proc/self/comm")?;
        let named = site
            .daemon
            .has_said(|line| line.contains("30005") && line.contains(own_name.trim()));
        ensure!(named != excluded, "named: {named}\n{}", site.daemon.log());
        let wire = site.lab.client_wire()?;
        let from = client_end(Family::V4, 0, wire.fresh_port());
        let answer = site.syn(&wire, from, other)?;
        let expected = if excluded {
            Answer::SYN_ACK
        } else {
            Answer::Nothing
        };
        ensure!(answer == expected, "{answer:?}");
    }
    Ok(())
}

#[test]
fn check_points_at_line_and_column() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("pinhole.toml");
    let path = file.to_str().context("UTF-8")?;
    fs::write(
        &file,
        "greeting = \"hello\"\n\n[passive]\nports = \"30000-\"\n",
    )?;
    let checked = daemon::pinhole(&["check", "--config", path], "")?;
    ensure!(!checked.status.success());
    let said = checked.transcript();
    ensure!(said.contains(&format!("{path}:4:")), "{said}");

    let settings = Settings::anonymous(folder.path())?;
    fs::write(&file, settings.text())?;
    let checked = daemon::pinhole(&["check", "--config", path], "")?;
    ensure!(checked.status.success(), "{}", checked.transcript());
    Ok(())
}

/// A refused start leaves nothing running and says why, on one line that names the culprit.
#[test]
fn a_port_in_use_is_said() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    let taken = server_end(Family::V4, 21);
    let _listener = lab.server.run(|| TcpListener::bind(taken))??;
    let root = tempfile::tempdir()?;
    let settings = Settings::anonymous(root.path())?.listen(&[taken])?;
    let mut command = lab.server.command(daemon::binary()?);
    let file = root.path().join("pinhole.toml");
    fs::write(&file, settings.text())?;
    command
        .args(["serve", "--config"])
        .arg(&file)
        .stdout(Stdio::null());
    let refused = process::run(command, b"", wait::SOON)?;
    let said = refused.transcript();
    ensure!(!refused.status.success());
    ensure!(
        said.contains(&taken.to_string()) && said.contains("in use"),
        "{said}"
    );
    Ok(())
}
