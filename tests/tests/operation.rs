//! Running it for years: new settings and certificates without a restart, and the service manager,
//! spoken with as systemd does.

use std::{
    fs,
    net::SocketAddr,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    certificate,
    clients::{self, Curl, Login, Mode, Task, Tls, Version},
    control::Control,
    daemon::{self, Daemon},
    files,
    lab::{self, Family, Lab},
    need_root, process,
    settings::Settings,
    site::{self, PASSWORD, USER, server_end},
    wait,
};
use rustix::process::Signal;

/// A daemon whose files can be changed under it.
struct Scene {
    daemon: Daemon,
    lab: Lab,
    settings: Settings,
    root: tempfile::TempDir,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Result<Scene> {
        let lab = Lab::new()?;
        let (root, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
        daemon::add_user(&users(folder.path()), USER, PASSWORD, root.path())?;
        let settings = Settings::anonymous(root.path())?.users(&users(folder.path()))?;
        let settings = certificate::configure(settings, folder.path())?;
        let file = folder.path().join("pinhole.toml");
        fs::write(&file, settings.text())?;
        let mut command = lab.server.command(daemon::binary()?);
        command.arg("serve").arg("--config").arg(&file);
        let daemon = Daemon::start_command(command, tempfile::tempdir()?)?;
        Ok(Scene {
            daemon,
            lab,
            settings,
            root,
            folder,
        })
    }

    /// Writes the configuration, sends SIGHUP and waits until that reload is over.
    fn reload(&self, text: &str) -> Result<()> {
        let file = self.folder.path().join("pinhole.toml");
        fs::write(file, text)?;
        let over = |line: &str| line.ends_with("reloaded") || line.ends_with("stay as they were");
        let before = self.daemon.count_said(over);
        self.daemon.signal(Signal::HUP)?;
        wait::until("the reload is over", || {
            self.daemon.count_said(over) > before
        })
    }

    fn session(&self, user: &str, password: &str) -> Result<Control> {
        let from = lab::client_address(Family::V4, 0);
        let server = site::control_address(Family::V4);
        Control::logged_in(&self.lab.client, from, server, user, password)
    }

    fn download(&self, login: &Login<'_>) -> Result<String> {
        let local = self.folder.path().join("fetched");
        let task = Task::Download {
            remote: "file",
            local: &local,
        };
        let finished = clients::perform(&self.lab.client, &Curl, login, &task)?;
        files::ensure_same(&local, &fs::read(self.root.path().join("file"))?)?;
        Ok(finished.transcript())
    }

    /// The certificate that a client is shown, in PEM.
    fn shown_certificate(&self) -> Result<String> {
        let to = site::control_address(Family::V4).to_string();
        let args = ["s_client", "-connect", &to, "-starttls", "ftp"];
        let shown = self.lab.client.tool("openssl", &args, "QUIT\r\n")?;
        let text = shown.transcript();
        let from = text.find("-----BEGIN CERTIFICATE").context(text.clone())?;
        let to = text.find("-----END CERTIFICATE").context("no end")?;
        text.get(from..to).map(str::to_owned).context("no text")
    }
}

fn users(folder: &Path) -> PathBuf {
    folder.join("users.toml")
}

#[test]
fn sighup_takes_new_settings_users_and_certificates_and_keeps_sessions() -> Result<()> {
    need_root!();
    let scene = Scene::new()?;
    let content = files::noise(1, 3_000_000);
    fs::write(scene.root.path().join("file"), &content)?;
    let mut before = scene.session(USER, PASSWORD)?;
    // In the middle of a transfer.
    let hole = before.passive()?;
    before.send(b"RETR file\r\n")?;
    let mut data = before.data(hole)?;
    before.expect_reply(150)?;
    let first_certificate = scene.shown_certificate()?;

    daemon::add_user(
        &users(scene.folder.path()),
        "second",
        "word",
        scene.root.path(),
    )?;
    certificate::write(scene.folder.path())?;
    let settings = scene
        .settings
        .clone()
        .set("greeting", "Second generation.")?;
    let settings = settings.set("enforce.attach", "generic")?;
    scene.reload(&settings.set("passive.ports", "30000-30099")?.text())?;
    for name in ["enforce.attach", "passive.ports"] {
        let wanted = format!("{name} has changed and needs a restart");
        ensure!(
            scene.daemon.has_said(|line| line.contains(&wanted)),
            "{name} is not said:\n{}",
            scene.daemon.log()
        );
    }
    let mut fetched = Vec::new();
    std::io::Read::read_to_end(&mut data, &mut fetched)?;
    files::ensure_equal("the download", &fetched, &content)?;
    before.expect_reply(226)?;
    before.expect("NOOP", 200)?;
    scene.session("second", "word")?.retrieve("file")?;
    ensure!(scene.shown_certificate()? != first_certificate);
    let login = Login {
        server: site::control_address(Family::V4),
        user: USER,
        password: PASSWORD,
        mode: Mode::Epsv,
        tls: Some(Tls {
            version: Version::V1_3,
            resume: true,
        }),
    };
    let said = scene.download(&login)?;
    ensure!(said.contains("220 Second generation."), "{said}");
    Ok(())
}

#[test]
fn what_cannot_be_used_is_refused_with_its_line_and_changes_nothing() -> Result<()> {
    need_root!();
    let scene = Scene::new()?;
    let good = scene
        .settings
        .clone()
        .set("greeting", "Not this one.")?
        .text();
    let file = scene.folder.path().join("pinhole.toml");
    let refused = |wanted: &str| {
        ensure!(
            scene
                .daemon
                .has_said(|line| line.contains("ERROR") && line.contains(wanted)),
            "{wanted} is not said:\n{}",
            scene.daemon.log()
        );
        let greeting = scene.session(USER, PASSWORD)?.transcript();
        ensure!(!greeting.contains("Not this one"), "{greeting}");
        Ok(())
    };
    scene.reload(&format!("greting = \"x\"\n{good}"))?;
    refused(&format!("{}:1:1: unknown field", file.display()))?;

    let right = fs::read_to_string(users(scene.folder.path()))?;
    fs::write(
        users(scene.folder.path()),
        format!("{right}\n[[user]]\nname = 7\n"),
    )?;
    scene.reload(&good)?;
    let line = right.lines().count() + 3;
    let users_file = users(scene.folder.path());
    refused(&format!("{}:{line}:8: invalid type", users_file.display()))?;
    fs::write(&users_file, &right)?;

    let key = fs::read(scene.folder.path().join("key.pem"))?;
    certificate::write(scene.folder.path())?;
    fs::write(scene.folder.path().join("key.pem"), &key)?;
    scene.reload(&good)?;
    refused("cert.pem with key ")?;

    certificate::write(scene.folder.path())?;
    scene.reload(&good)?;
    let greeting = scene.session(USER, PASSWORD)?.transcript();
    ensure!(greeting.contains("Not this one"), "{greeting}");
    Ok(())
}

#[test]
fn a_bad_certificate_is_found_before_anything_is_attached() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    let folder = tempfile::tempdir()?;
    let settings = certificate::configure(Settings::anonymous(folder.path())?, folder.path())?;
    fs::write(folder.path().join("key.pem"), "no key")?;
    let file = folder.path().join("pinhole.toml");
    fs::write(&file, settings.text())?;
    let mut command = lab.server.command(daemon::binary()?);
    command.arg("serve").arg("--config").arg(&file);
    let said = process::run(command, b"", wait::SOON)?.transcript();
    ensure!(said.contains("key.pem"), "{said}");
    ensure!(
        !said.contains("locked") && !said.contains("listening"),
        "{said}"
    );
    Ok(())
}

/// The daemon's lines on standard error, one JSON object each.
fn events(daemon: &Daemon) -> Result<Vec<serde_json::Value>> {
    let log = daemon.log();
    let lines = log.lines().filter(|line| !line.is_empty());
    let parsed = lines.map(|line| serde_json::from_str(line).with_context(|| line.to_owned()));
    parsed.collect()
}

#[test]
fn json_events_have_stable_names_and_no_client_can_forge_one() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    let (root, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    daemon::add_user(&users(folder.path()), USER, PASSWORD, root.path())?;
    let settings = Settings::anonymous(root.path())?.users(&users(folder.path()))?;
    let name = "a\x1b[31m\" user=\"root\" b";
    fs::write(root.path().join(name), files::noise(1, 100_000))?;
    for format in ["json", "text"] {
        let settings = settings.clone().set("log.format", format)?;
        let daemon = Daemon::start(&lab.server, &settings)?;
        let from = lab::client_address(Family::V4, 0);
        let server = site::control_address(Family::V4);
        let mut liar = Control::open(&lab.client, from, server)?;
        // A bare CR goes on the wire as CR NUL (RFC 854).
        liar.expect("USER x\x07\"}\r\0{\"message\":\"login\"", 331)?;
        liar.expect("PASS y", 530)?;
        let mut session = Control::logged_in(&lab.client, from, server, USER, PASSWORD)?;
        session.retrieve(name)?;
        session.expect("MKD", 501)?;
        session.expect("CWD nowhere \x1b]0;title\x07", 550)?;
        session.expect("QUIT", 221)?;
        wait::until("the refusal is logged", || {
            daemon.has_said(|line| line.contains("nowhere"))
        })?;
        // Neither a terminal's orders nor a line's end came through.
        let raw = daemon.log();
        ensure!(
            !raw.bytes().any(|byte| byte < b' ' && byte != b'\n'),
            "{raw:?}"
        );
        if format == "text" {
            let forged = |line: &str| line.contains("user=\"root\" b");
            ensure!(!daemon.has_said(forged), "{raw}");
            continue;
        }
        let events = events(&daemon)?;
        let of = |message: &str| -> Result<&serde_json::Value> {
            let mut found = events.iter().filter(|event| event["message"] == message);
            let one = found
                .next()
                .with_context(|| format!("no {message}:\n{raw}"))?;
            ensure!(found.next().is_none(), "more than one {message}:\n{raw}");
            Ok(one)
        };
        let refused = of("login refused")?;
        ensure!(refused["client"] == from.to_string() && refused["level"] == "WARN");
        ensure!(
            refused["user"] == "x\u{7}\"}\r{\"message\":\"login\"",
            "{refused}"
        );
        let login = of("login")?;
        ensure!(login["user"] == USER && login["tls"] == false, "{login}");
        let transfer = of("transfer")?;
        ensure!(transfer["session"] == login["session"], "{transfer}");
        ensure!(transfer["path"] == format!("/{name}"), "{transfer}");
        ensure!(
            transfer["bytes"] == 100_000 && transfer["reply"] == 226,
            "{transfer}"
        );
        ensure!(
            transfer["seconds"].is_f64() && transfer["verb"] == "RETR",
            "{transfer}"
        );
        let refused = of("refused")?;
        ensure!(
            refused["reply"] == 550 && refused["user"] == USER,
            "{refused}"
        );
    }
    Ok(())
}

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
    ensure!(next()?.trim() == "READY=1");
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
