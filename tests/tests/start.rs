//! Starting: without privilege, with settings that cannot be, beside others. What is said.

use std::{fs, net::TcpListener, process::Stdio};

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    control::{self, Control},
    daemon::{self, Daemon},
    files,
    guarded::guard_in,
    lab::{self, Family, Lab},
    namespace::NetNs,
    need_root, process,
    settings::Settings,
    site::{Site, client_end, server_end},
    wait,
    wire::Answer,
};

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
        said.contains("CAP_BPF") && said.contains("--enforce off"),
        "it does not say what is missing, or what to do:\n{said}"
    );
    Ok(())
}

/// One capability less, and the verifier has pages to say.
#[test]
fn a_guard_without_a_capability_says_which_and_no_more() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    let mut command = lab.server.command("setpriv");
    command
        .args(["--bounding-set=-perfmon,-sys_admin", "--"])
        .arg(daemon::binary()?)
        .arg("guard");
    let refused = process::run(command, b"", wait::SOON)?;
    let said = refused.transcript();
    let why = said.lines().filter(|line| line.starts_with("pinhole:"));
    ensure!(
        said.contains("lacks CAP_PERFMON. ") && !said.contains("--enforce"),
        "{said}"
    );
    ensure!(why.count() == 1 && said.lines().count() < 8, "{said}");
    Ok(())
}

#[test]
fn looking_on_takes_root_and_says_so() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    let root = tempfile::tempdir()?;
    let settings = Settings::anonymous(root.path())?.listen(&[server_end(Family::V4, 2121)])?;
    let daemon = Daemon::start(&lab.server, &settings)?;
    let guard = guard_in(&lab.server, &["--interface", "lo"])?;
    let (pid, guards) = (daemon.pid().to_string(), guard.pid().to_string());
    let empty = root.path().to_str().context("UTF-8")?;
    for (args, named) in [
        // One that cannot be read is no reason not to go on to the next.
        (&["status", "--bpffs", empty][..], &[&pid, &guards][..]),
        (&["status", "--pid", &pid], &[&pid]),
        (&["trace", "--pid", &pid], &[&pid]),
    ] {
        let refused = process::run(powerless(&lab.server, args)?, b"", wait::SOON)?;
        let said = refused.transcript();
        ensure!(!refused.status.success(), "{args:?}: {said}");
        for pid in named {
            let line = format!("/proc/{pid}/fdinfo, which takes root");
            ensure!(said.contains(&line), "{args:?}: {line}: {said}");
        }
    }
    guard.stop()?;
    daemon.stop()
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
        // A child of this thread has the socket as well, until it becomes the program that it is for.
        let names = [
            fs::read_to_string("/proc/self/comm")?,
            fs::read_to_string("/proc/thread-self/comm")?,
        ];
        let is_ours = |line: &str| names.iter().any(|name| line.contains(name.trim()));
        let named = site
            .daemon
            .has_said(|line| line.contains("30005") && is_ours(line));
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
