//! The service manager, spoken with as systemd does: readiness, reloads, the unit's capabilities,
//! sockets that it has opened, and which process is the service after a restart.

use std::{fs, net::SocketAddr, os::unix::net::UnixDatagram, time::Duration};

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    certificate,
    control::Control,
    daemon::{self, Daemon},
    files,
    lab::{self, Family, Lab},
    need_root, process,
    settings::Settings,
    site::{self, server_end},
    wait,
};
use rustix::process::Signal;

/// The next datagram of the service manager's socket.
fn notice(manager: &UnixDatagram) -> Result<String> {
    let mut bytes = [0; 4096];
    let len = manager.recv(&mut bytes).context("no notice")?;
    Ok(String::from_utf8_lossy(&bytes[..len]).into_owned())
}

#[test]
fn the_service_manager_is_told() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("notify");
    let manager = UnixDatagram::bind(&socket)?;
    manager.set_read_timeout(Some(wait::SOON))?;
    let file = folder.path().join("pinhole.toml");
    fs::write(&file, Settings::anonymous(folder.path())?.text())?;
    let mut command = lab.server.command(daemon::binary()?);
    command
        .args(["serve", "--config"])
        .arg(&file)
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "60000");
    let mut daemon = Daemon::start_command(command, tempfile::tempdir()?)?;
    let next = || loop {
        let said = notice(&manager)?;
        if said.trim() != "WATCHDOG=1" {
            return Ok::<_, anyhow::Error>(said);
        }
    };
    let ready = next()?;
    ensure!(
        ready.contains("READY=1") && ready.contains("STATUS=listening on "),
        "{ready}"
    );
    daemon.signal(Signal::HUP)?;
    let reloading = next()?;
    ensure!(
        reloading.contains("RELOADING=1") && reloading.contains("MONOTONIC_USEC="),
        "{reloading}"
    );
    let over = next()?;
    ensure!(
        over.contains("READY=1") && over.contains("STATUS=reloaded"),
        "{over}"
    );
    fs::write(&file, "nonsense\n")?;
    daemon.signal(Signal::HUP)?;
    next()?;
    let over = next()?;
    ensure!(
        over.contains("READY=1") && over.contains("STATUS=reload refused: /"),
        "{over}"
    );
    // In time, while nothing else happens.
    for _ in 0..3 {
        ensure!(notice(&manager)?.trim() == "WATCHDOG=1");
    }
    daemon.signal(Signal::TERM)?;
    ensure!(next()?.trim() == "STOPPING=1");
    ensure!(daemon.wait(wait::SOON)?.context("it runs")?.success());
    Ok(())
}

/// What the unit grants is enough, and what docs/TRUST.md names.
#[test]
fn the_units_capabilities_suffice() -> Result<()> {
    need_root!();
    let unit = include_str!("../../dist/pinhole.service");
    let granted = unit
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="))
        .context("the unit bounds no capabilities")?;
    let mut bounds = "-all".to_owned();
    for name in granted.split(' ') {
        let documented = include_str!("../../docs/TRUST.md").contains(&format!("`{name}`"));
        ensure!(documented, "docs/TRUST.md does not name {name}");
        let name = name.strip_prefix("CAP_").context("no capability")?;
        bounds = format!("{bounds},+{}", name.to_lowercase());
    }
    let lab = Lab::new()?;
    let (root, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let content = files::noise(1, 300_000);
    fs::write(root.path().join("file"), &content)?;
    let file = folder.path().join("pinhole.toml");
    let settings = Settings::anonymous(root.path())?.set("active.from_port_20", true)?;
    fs::write(&file, settings.text())?;
    let mut command = lab.server.command("setpriv");
    command
        .arg(format!("--bounding-set={bounds}"))
        .args(["--no-new-privs", "--"])
        .arg(daemon::binary()?)
        .args(["serve", "--config"])
        .arg(&file);
    let daemon = Daemon::start_command(command, tempfile::tempdir()?)?;
    let from = lab::client_address(Family::V4, 0);
    let server = site::control_address(Family::V4);
    let mut session = Control::anonymous(&lab.client, from, server)?;
    files::ensure_equal("passive", &session.retrieve("file")?, &content)?;
    let listener = session.listen()?;
    session.port_to(&listener)?;
    session.send(b"RETR file\r\n")?;
    let (mut data, peer) = listener.accept()?;
    ensure!(peer.port() == 20, "from port {}", peer.port());
    session.expect_reply(150)?;
    let mut fetched = Vec::new();
    std::io::Read::read_to_end(&mut data, &mut fetched)?;
    files::ensure_equal("active", &fetched, &content)?;
    session.expect_reply(226)?;
    let new = daemon.restart()?;
    files::ensure_equal(
        "through the new process",
        &session.retrieve("file")?,
        &content,
    )?;
    new.signal(Signal::TERM)?;
    new.wait()?;
    daemon.stop()
}

/// Does what systemd does before it starts a service that has sockets: listens, puts them at 3 and
/// up, and tells by the environment.
const ACTIVATE: &str = r"
import os, socket, sys
names, ports, command = sys.argv[1], sys.argv[2].split(','), sys.argv[3:]
sockets = []
for port in ports:
    family = socket.AF_INET6
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(('::', int(port)))
    listener.listen(16)
    sockets.append(listener)
high = [os.dup2(s.fileno(), 100 + n) for n, s in enumerate(sockets)]
for s in sockets:
    s.close()
for n, fd in enumerate(high):
    os.dup2(fd, 3 + n, inheritable=True)
    os.close(fd)
os.environ['LISTEN_PID'] = str(os.getpid())
os.environ['LISTEN_FDS'] = str(len(high))
os.environ['LISTEN_FDNAMES'] = names
os.execv(command[0], command)
";

#[test]
fn sockets_are_taken_from_the_service_manager() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    let (root, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let content = files::noise(1, 300_000);
    fs::write(root.path().join("file"), &content)?;
    let settings = Settings::anonymous(root.path())?.listen(&["[::1]:1".parse()?])?;
    let settings = certificate::configure(settings, folder.path())?;
    let file = folder.path().join("pinhole.toml");
    fs::write(&file, settings.text())?;
    let activated = |names: &str| -> Result<_> {
        let mut command = lab.server.command("python3");
        command
            .args(["-c", ACTIVATE, names, "2121,990"])
            .arg(daemon::binary()?)
            .args(["serve", "--config"])
            .arg(&file);
        Ok(command)
    };
    let daemon = Daemon::start_command(activated("control:implicit")?, tempfile::tempdir()?)?;
    for family in Family::BOTH {
        let from = lab::client_address(family, 0);
        let server: SocketAddr = server_end(family, 2121);
        let mut session = Control::anonymous(&lab.client, from, server)?;
        files::ensure_equal("download", &session.retrieve("file")?, &content)?;
    }
    let to = server_end(Family::V4, 990).to_string();
    let shown = lab
        .client
        .tool("openssl", &["s_client", "-connect", &to], "QUIT\r\n")?;
    ensure!(
        shown.transcript().contains("BEGIN CERTIFICATE"),
        "{}",
        shown.transcript()
    );
    // A reload does not take the configured address for a change.
    daemon.signal(Signal::HUP)?;
    wait::until("the reload is over", || {
        daemon.has_said(|line| line.ends_with("reloaded"))
    })?;
    ensure!(
        !daemon.has_said(|line| line.contains("needs a restart")),
        "{}",
        daemon.log()
    );
    daemon.stop()?;

    let said = process::run(activated("control:telnet")?, b"", Duration::from_secs(20))?;
    let said = said.transcript();
    ensure!(
        said.contains("\"telnet\"") && said.contains("FileDescriptorName"),
        "{said}"
    );
    Ok(())
}

/// Socket activation, and the messages by which systemd learns which process is the service.
#[test]
fn the_service_manager_learns_of_the_new_process() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    let folder = tempfile::tempdir()?;
    let content = files::noise(1, 1000);
    fs::write(folder.path().join("small"), &content)?;
    let manager = UnixDatagram::bind(folder.path().join("notify"))?;
    manager.set_read_timeout(Some(wait::SOON))?;
    let file = folder.path().join("pinhole.toml");
    // The port is the service manager's choice.
    let settings = Settings::anonymous(folder.path())?.listen(&["[::1]:1".parse()?])?;
    fs::write(&file, settings.text())?;
    let mut command = lab.server.command("python3");
    command
        .args(["-c", ACTIVATE, "", "21"])
        .arg(daemon::binary()?)
        .args(["serve", "--config"])
        .arg(&file)
        .env("NOTIFY_SOCKET", folder.path().join("notify"));
    let daemon = Daemon::start_command(command, tempfile::tempdir()?)?;
    let next = || notice(&manager).map(|said| said.trim().to_owned());
    // Also from the new process: what the old one has said last is not its status.
    let ready = "READY=1\nSTATUS=listening on [::]:21";
    ensure!(next()? == ready);
    let from = lab::client_address(Family::V4, 0);
    let mut session = Control::anonymous(&lab.client, from, site::control_address(Family::V4))?;
    let new = daemon.restart()?;
    ensure!(next()? == format!("MAINPID={}", new.pid()));
    ensure!(next()? == ready);
    files::ensure_equal("the old session", &session.retrieve("small")?, &content)?;
    let mut other = Control::anonymous(&lab.client, from, site::control_address(Family::V4))?;
    files::ensure_equal("the new session", &other.retrieve("small")?, &content)?;
    // The old process's end is not the service's.
    daemon.signal(Signal::TERM)?;
    session.expect_reply(421)?;
    wait::until("the new process is alone", || {
        daemon.has_said(|line| line.ends_with("the process before has ended"))
    })?;
    fs::write(&file, "nonsense\n")?;
    new.signal(Signal::USR2)?;
    let refused = next()?;
    ensure!(
        refused.starts_with("STATUS=restart refused: /"),
        "{refused}"
    );
    new.signal(Signal::TERM)?;
    ensure!(next()? == "STOPPING=1");
    other.expect_reply(421)?;
    new.wait()
}
