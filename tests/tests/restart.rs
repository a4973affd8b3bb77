//! A restart without a gap (SIGUSR2): a new process takes over while the old one goes on for its
//! sessions. Nobody is refused, nothing breaks, no port is open to strangers at any moment.

use std::{
    fs::{self, Permissions},
    io::Read as _,
    net::SocketAddr,
    os::unix::{
        fs::{PermissionsExt as _, symlink},
        net::UnixDatagram,
    },
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Context, Result, anyhow, ensure};
use ftp_tests::{
    control::Control,
    daemon::{self, Daemon, Successor},
    files,
    frame::Segment,
    lab::{self, Family, Lab},
    need_root,
    settings::Settings,
    site::{PASSWORD, USER, client_end, control_address, server_end},
    wait,
    wire::{Answer, Wire},
};
use ftp_user::pinholes::inspect::{InspectError, Row, Tables};
use rustix::process::Signal;

/// A daemon whose program and configuration can be changed under it.
struct Scene {
    daemon: Daemon,
    lab: Lab,
    settings: Settings,
    root: tempfile::TempDir,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new(adjust: impl FnOnce(Settings) -> Result<Settings>) -> Result<Scene> {
        let lab = Lab::new()?;
        let (root, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let settings = adjust(Settings::anonymous(root.path())?)?;
        let (program, file) = (
            folder.path().join("pinhole"),
            folder.path().join("pinhole.toml"),
        );
        symlink(daemon::binary()?, &program)?;
        fs::write(&file, settings.text())?;
        let mut command = lab.server.command(&program);
        command.arg("serve").arg("--config").arg(&file);
        command.env("PINHOLE_LOG", "info");
        command.current_dir(folder.path());
        let daemon = Daemon::start_command(command, tempfile::tempdir()?)?;
        Ok(Scene {
            daemon,
            lab,
            settings,
            root,
            folder,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, len: usize) -> Result<Vec<u8>> {
        let content = files::noise(1, len);
        fs::write(self.root.path().join(name), &content)?;
        Ok(content)
    }

    fn session(&self, family: Family, client: u16) -> Result<Control> {
        let from = lab::client_address(family, client);
        Control::anonymous(&self.lab.client, from, control_address(family))
    }

    /// What the server answers to a SYN of a client without a session.
    fn stranger(&self, wire: &Wire, to: SocketAddr) -> Result<Answer> {
        let from = client_end(Family::V4, 1, wire.fresh_port());
        wire.probe(Segment::syn(from, to), control_address(Family::V4))
    }

    /// A session from its greeting to its QUIT, with a transfer.
    fn visit(&self, content: &[u8]) -> Result<()> {
        let mut session = self.session(Family::V4, 0)?;
        files::ensure_equal("a download", &session.retrieve("small")?, content)?;
        session.expect("QUIT", 221).map(drop)
    }

    /// Runs `work` while sessions come and go and a stranger tries ports; neither may notice.
    fn besieged<T>(&self, content: &[u8], work: impl FnOnce() -> Result<T>) -> Result<T> {
        let over = AtomicBool::new(false);
        let wire = self.lab.client_wire()?;
        thread::scope(|scope| {
            let visits = scope.spawn(|| {
                let mut visits = 0_u32;
                while !over.load(Ordering::Relaxed) {
                    self.visit(content)?;
                    visits += 1;
                }
                Ok::<_, anyhow::Error>(visits)
            });
            let tries = scope.spawn(|| {
                let mut tries = 0_u32;
                for port in (30000..=30015).cycle() {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let to = server_end(Family::V4, port);
                    let answer = self.stranger(&wire, to)?;
                    ensure!(answer == Answer::Nothing, "port {port}: {answer:?}");
                    tries += 1;
                }
                Ok::<_, anyhow::Error>(tries)
            });
            let done = work();
            over.store(true, Ordering::Relaxed);
            let visits = visits.join().map_err(|_| anyhow!("a visitor panicked"))??;
            let tries = tries
                .join()
                .map_err(|_| anyhow!("the stranger panicked"))??;
            ensure!(visits > 0 && tries > 0, "{visits} visits, {tries} tries");
            done
        })
    }

    /// A restart that succeeds behind others that did not.
    fn takes_over(&self) -> Result<()> {
        let said = self.daemon.log().len();
        self.daemon.signal(Signal::USR2)?;
        wait::until("it takes over", || {
            self.daemon.log()[said..].contains("has taken over;")
        })
    }

    fn refused(&self, why: &str) -> Result<()> {
        wait::until("the restart is refused", || {
            self.daemon
                .has_said(|line| line.contains("restart refused") && line.contains(why))
        })
    }
}

fn rows(of: u32) -> Result<Vec<Row>> {
    Ok(Tables::of_process(of)?.pinholes()?)
}

fn until_rows(of: Successor, count: usize) -> Result<()> {
    wait::poll_within(wait::SOON, "rows", || {
        Ok((rows(of.pid())?.len() == count).then_some(()))
    })
}

#[test]
fn nobody_notices_a_restart() -> Result<()> {
    need_root!();
    for attach in ["tcx", "native"] {
        let scene = Scene::new(|settings| settings.set("enforce.attach", attach))?;
        let (small, large) = (scene.put("small", 1000)?, scene.put("large", 30_000_000)?);
        // In the middle of a transfer, and with a pinhole that waits.
        let mut busy = scene.session(Family::V4, 0)?;
        let hole = busy.passive()?;
        busy.send(b"RETR large\r\n")?;
        let mut data = busy.data(hole)?;
        busy.expect_transfer()?;
        let mut first = vec![0; 1000];
        data.read_exact(&mut first)?;
        let mut waits = scene.session(Family::V6, 0)?;
        let waiting = waits.passive()?;

        let new = scene.besieged(&small, || {
            scene.visit(&small)?;
            let new = scene.daemon.restart()?;
            scene.visit(&small)?;
            Ok(new)
        })?;
        let of_old = Tables::of_process(scene.daemon.pid());
        ensure!(matches!(of_old, Err(InspectError::NoMap { .. })));

        // The old process's sessions: what was under way, what waited, and what is new.
        let mut rest = Vec::new();
        data.read_to_end(&mut rest)?;
        busy.expect_reply(226)?;
        files::ensure_equal("the transfer", &[first, rest].concat(), &large)?;
        let fetched = waits.fetch("RETR small", waiting)?;
        files::ensure_equal("by the pinhole that waited", &fetched, &small)?;
        for session in [&mut busy, &mut waits] {
            files::ensure_equal("a new one", &session.retrieve("small")?, &small)?;
        }
        let hole = busy.passive()?;
        let [row] = rows(new.pid())?
            .try_into()
            .map_err(|rows| anyhow!("{rows:?}"))?;
        ensure!(row.port == hole.port());
        let wire = scene.lab.client_wire()?;
        ensure!(scene.stranger(&wire, hole)? == Answer::Nothing);

        // One at a time.
        new.signal(Signal::USR2)?;
        scene.refused("still run in the process before")?;
        scene.daemon.signal(Signal::USR2)?;
        scene.refused("has taken over already")?;

        // With its last session the old process ends, and only then.
        busy.expect("QUIT", 221)?;
        until_rows(new, 0)?;
        let mut scene = scene;
        ensure!(waits.command("NOOP")?.code == 200);
        drop(waits);
        let status = scene.daemon.wait(wait::SOON)?.context("it still runs")?;
        ensure!(status.success(), "{status}");
        wait::until("the new process has noticed", || {
            scene
                .daemon
                .has_said(|line| line.contains("process before has ended"))
        })?;
        scene.visit(&small)?;
        new.signal(Signal::TERM)?;
        new.wait()?;
    }
    Ok(())
}

#[test]
fn a_killed_old_process_leaves_no_pinhole() -> Result<()> {
    need_root!();
    let scene = Scene::new(Ok)?;
    let small = scene.put("small", 1000)?;
    let mut before = scene.session(Family::V4, 0)?;
    let _waits = before.passive()?;
    let new = scene.daemon.restart()?;
    let mut other = scene.session(Family::V6, 1)?;
    let hole = other.passive()?;
    until_rows(new, 2)?;
    scene.daemon.signal(Signal::KILL)?;
    until_rows(new, 1)?;
    files::ensure_equal("the other's", &other.fetch("RETR small", hole)?, &small)?;
    // Nothing is left to wait for: the next restart may come.
    wait::until("the new process has noticed", || {
        scene
            .daemon
            .has_said(|line| line.contains("process before has ended"))
    })?;
    let newer = scene.daemon.restart_again(new)?;
    files::ensure_equal("still there", &other.retrieve("small")?, &small)?;
    drop(other);
    new.wait()?;
    scene.visit(&small)?;
    ensure!(rows(newer.pid())?.is_empty());
    Ok(())
}

#[test]
fn a_new_process_that_fails_leaves_the_old_one_as_it_was() -> Result<()> {
    need_root!();
    let scene = Scene::new(|settings| settings.set("enforce.attach", "native"))?;
    let small = scene.put("small", 1000)?;
    let mut session = scene.session(Family::V4, 0)?;
    let waiting = session.passive()?;
    let file = scene.path("pinhole.toml");
    let settings = scene.settings.clone();
    scene.besieged(&small, || {
        let attempt = |text: &str, why: &str| {
            fs::write(&file, text)?;
            scene.daemon.signal(Signal::USR2)?;
            scene.refused(why)
        };
        attempt("nonsense\n", "pinhole.toml:1")?;
        let other = settings.clone().set("passive.ports", "40000-40009")?;
        attempt(&other.text(), "passive.ports has changed")?;
        // Found out only when the locks are being replaced.
        let other = settings.clone().set("enforce.attach", "generic")?;
        attempt(&other.text(), "takes only one XDP program")?;
        fs::write(&file, settings.text())?;
        let program = scene.path("pinhole");
        fs::remove_file(&program)?;
        scene.daemon.signal(Signal::USR2)?;
        scene.refused("cannot start")?;
        symlink("/bin/true", &program)?;
        scene.daemon.signal(Signal::USR2)?;
        scene.refused("the other process has ended")?;
        fs::remove_file(&program)?;
        symlink(daemon::binary()?, &program)?;
        Ok(())
    })?;
    files::ensure_equal(
        "by the pinhole that waited",
        &session.fetch("RETR small", waiting)?,
        &small,
    )?;
    ensure!(
        !scene
            .daemon
            .has_said(|line| line.contains("has taken over;")),
        "{}",
        scene.daemon.log()
    );
    // And then one that does not fail.
    scene.takes_over()?;
    scene.visit(&small)?;
    files::ensure_equal("the old session", &session.retrieve("small")?, &small)
}

/// As the program, a shell that runs the file `serve`, for so its first argument is called. What it runs
/// says what a new process says first, `words` of it, and then hangs until the channel ends.
fn hanging(words: usize) -> String {
    format!(
        "echo $$ > hanging\n\
         exec python3 -c '\n\
         import json, os, socket\n\
         channel = socket.socket(fileno=0)\n\
         channel.setblocking(True)\n\
         for word in [{{\"Hello\": {{\"pid\": os.getpid()}}}}, \"Prepared\"][:{words}]:\n\
         \u{20}   channel.send(json.dumps(word).encode())\n\
         open(\"said\", \"w\").close()\n\
         while channel.recv(1 << 16): pass\n\
         open(\"outlived\", \"w\").close()\n\
         '\n"
    )
}

#[test]
fn a_new_process_that_hangs_is_killed_and_the_old_one_goes_on() -> Result<()> {
    need_root!();
    let scene = Scene::new(|settings| settings.set("timeouts.takeover", "3s"))?;
    let small = scene.put("small", 1000)?;
    let mut session = scene.session(Family::V4, 0)?;
    let waiting = session.passive()?;
    let program = scene.path("pinhole");
    fs::remove_file(&program)?;
    symlink("/bin/sh", &program)?;
    for words in [0, 1, 2] {
        fs::write(scene.path("serve"), hanging(words))?;
        let said = scene.daemon.log().len();
        scene.daemon.signal(Signal::USR2)?;
        wait::until("the restart is refused", || {
            let log = scene.daemon.log();
            log[said..].contains("did not take over in time")
        })?;
        // It had come to where it hangs, and was not ended by the channel's end.
        fs::remove_file(scene.path("said"))?;
        ensure!(!scene.path("outlived").exists(), "{words} words");
        let pid = fs::read_to_string(scene.path("hanging"))?;
        // Whoever is the parent of orphans here may not have looked yet.
        let state = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        ensure!(state.is_empty() || state.contains(") Z "), "{state}");
        scene.visit(&small)?;
    }
    files::ensure_equal(
        "by the pinhole that waited",
        &session.fetch("RETR small", waiting)?,
        &small,
    )?;
    fs::remove_file(&program)?;
    symlink(daemon::binary()?, &program)?;
    scene.takes_over()?;
    scene.visit(&small)?;
    files::ensure_equal("the old session", &session.retrieve("small")?, &small)
}

#[test]
fn without_enforcement_a_restart_works_as_well() -> Result<()> {
    need_root!();
    let scene = Scene::new(|settings| settings.set("enforce.enabled", false))?;
    let small = scene.put("small", 1000)?;
    let mut session = scene.session(Family::V4, 0)?;
    let waiting = session.passive()?;
    let new = scene.daemon.restart()?;
    files::ensure_equal("waited", &session.fetch("RETR small", waiting)?, &small)?;
    files::ensure_equal("new", &session.retrieve("small")?, &small)?;
    scene.visit(&small)?;
    drop(session);
    let mut scene = scene;
    ensure!(
        scene
            .daemon
            .wait(wait::SOON)?
            .is_some_and(|status| status.success())
    );
    scene.visit(&small)?;
    new.signal(Signal::TERM)?;
    new.wait()
}

#[test]
fn sessions_of_the_old_process_end_when_they_are_told_to() -> Result<()> {
    need_root!();
    let mut scene = Scene::new(|settings| settings.set("timeouts.restart", "300ms"))?;
    let mut session = scene.session(Family::V4, 0)?;
    let new = scene.daemon.restart()?;
    session.expect_reply(421)?;
    let ended = scene.daemon.wait(wait::SOON)?.context("it still runs")?;
    ensure!(ended.success(), "{ended}");
    new.signal(Signal::TERM)?;
    new.wait()
}

#[test]
fn a_quota_holds_for_the_sessions_of_both_processes() -> Result<()> {
    need_root!();
    let (folder, root) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let users = folder.path().join("users.toml");
    daemon::add_user(&users, USER, PASSWORD, root.path())?;
    daemon::set_user(&users, USER, &["--quota-bytes", "1000000"])?;
    let scene = Scene::new(|settings| settings.users(&users))?;
    let session = || {
        let from = lab::client_address(Family::V4, 0);
        let server = control_address(Family::V4);
        Control::logged_in(&scene.lab.client, from, server, USER, PASSWORD)
    };
    let mut old = session()?;
    old.store("STOR one", &files::noise(1, 600_000))?;
    // It logs in when another process has taken over.
    let mut late = Control::open(
        &scene.lab.client,
        lab::client_address(Family::V4, 0),
        control_address(Family::V4),
    )?;
    scene.daemon.restart()?;
    let mut new = session()?;
    let refused = |session: &mut Control, name: &str, len| {
        let hole = session.passive()?;
        session.send(format!("STOR {name}\r\n").as_bytes())?;
        let mut data = session.data(hole)?;
        session.expect_transfer()?;
        // The server may have seen enough before it has seen everything.
        let _ = std::io::Write::write_all(&mut data, &files::noise(2, len));
        drop(data);
        session.expect_reply(552)?;
        session.expect(&format!("DELE {name}"), 250).map(drop)
    };
    refused(&mut new, "two", 500_000)?;
    new.store("STOR two", &files::noise(2, 300_000))?;
    refused(&mut old, "three", 200_000)?;
    old.expect("DELE two", 250)?;
    new.store("STOR two", &files::noise(2, 300_000))?;
    late.expect(&format!("USER {USER}"), 331)?;
    late.expect(&format!("PASS {PASSWORD}"), 230)?;
    late.expect("TYPE I", 200)?;
    refused(&mut late, "three", 200_000)?;
    late.store("STOR three", &files::noise(2, 100_000))?;
    let said = new.expect("SITE QUOTA", 200)?.text();
    ensure!(said.contains("1000000 of 1000000, 0 left"), "{said}");
    Ok(())
}

/// `systemctl kill` signals every process of a service, also one that has just been started.
#[test]
fn signals_do_not_end_a_new_process_that_does_not_handle_them_yet() -> Result<()> {
    need_root!();
    let scene = Scene::new(Ok)?;
    let small = scene.put("small", 1000)?;
    let program = scene.path("pinhole");
    fs::remove_file(&program)?;
    let script = format!(
        "#!/bin/sh\nkill -USR2 $$\nkill -HUP $$\nexec {} \"$@\"\n",
        daemon::binary()?.display()
    );
    fs::write(&program, script)?;
    fs::set_permissions(&program, Permissions::from_mode(0o755))?;
    let new = scene.daemon.restart()?;
    scene.visit(&small)?;
    new.signal(Signal::TERM)?;
    new.wait()
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
    let script = "import os, socket, sys\n\
        s = socket.create_server(('::', 21), family=socket.AF_INET6, dualstack_ipv6=True)\n\
        os.dup2(s.fileno(), 100)\n\
        os.dup2(100, 3, inheritable=True)\n\
        os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n\
        os.execv(sys.argv[1], sys.argv[1:])\n";
    let mut command = lab.server.command("python3");
    command
        .args(["-c", script])
        .arg(daemon::binary()?)
        .args(["serve", "--config"])
        .arg(&file)
        .env("NOTIFY_SOCKET", folder.path().join("notify"));
    let daemon = Daemon::start_command(command, tempfile::tempdir()?)?;
    let next = || {
        let mut bytes = [0; 4096];
        let len = manager.recv(&mut bytes).context("no notice")?;
        Ok::<_, anyhow::Error>(String::from_utf8_lossy(&bytes[..len]).trim().to_owned())
    };
    // Also from the new process: what the old one has said last is not its status.
    let ready = "READY=1\nSTATUS=listening on [::]:21";
    ensure!(next()? == ready);
    let from = lab::client_address(Family::V4, 0);
    let mut session = Control::anonymous(&lab.client, from, control_address(Family::V4))?;
    let new = daemon.restart()?;
    ensure!(next()? == format!("MAINPID={}", new.pid()));
    ensure!(next()? == ready);
    files::ensure_equal("the old session", &session.retrieve("small")?, &content)?;
    let mut other = Control::anonymous(&lab.client, from, control_address(Family::V4))?;
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
