//! How the guard ends, and what goes on without it: transfers whatever it was told, the kernel half
//! where it was told so, until another guard takes over or an admin releases the host.

use std::{
    fs,
    io::{Read, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    bpffs::Bpffs,
    control::Control,
    daemon::{self, Daemon},
    files,
    frame::Segment,
    guarded::{Guarded, Scene},
    lab::{Family, Lab},
    need_root,
    peer::{Brand, INCOMING, PASSWORD, Tls},
    process,
    site::{client_end, control_address},
    wait,
    wire::{Answer, Wire},
};
use ftp_user::pinholes::inspect::Tables;

/// More than fits into the buffers of a connection that nobody reads.
const LONG: usize = 6_000_000;

fn guard_in(lab: &Lab, flags: &[&str]) -> Result<Daemon> {
    let mut command = lab.server.command(daemon::binary()?);
    command.arg("guard").args(flags);
    Daemon::start_command(command, tempfile::tempdir()?)
}

fn syn(wire: &Wire, n: u16, to: SocketAddr) -> Result<Answer> {
    let from = client_end(Family::of(to.ip()), n, wire.fresh_port());
    wire.probe(Segment::syn(from, to), control_address(Family::of(to.ip())))
}

/// A config file that has the guard leave its kernel half in a bpffs of the test's own.
fn closed(bpffs: &Bpffs, folder: &tempfile::TempDir) -> Result<String> {
    let file = folder.path().join("guard.toml");
    let text = format!(
        "[guard]\non_exit = \"closed\"\nbpffs = \"{}\"\n",
        bpffs.path()
    );
    fs::write(&file, text)?;
    Ok(file.to_str().context("a path that is text")?.to_owned())
}

/// A transfer by curl whose bytes the test takes or gives: it is under way until the test says.
struct Transfer {
    curl: Child,
    what: String,
    /// Of an upload: where it arrives.
    stored: Option<PathBuf>,
    received: Vec<u8>,
}

impl Transfer {
    /// Begins it, and waits until its data flows.
    fn begin(guarded: &Guarded<'_>, brand: Brand, tls: bool, upload: bool) -> Result<Transfer> {
        let what = format!("{INCOMING}/up-{tls}");
        let mut command = guarded.lab.client.command("curl");
        command.args(["-q", "-sS", "--globoff", "--max-time", "50", "--user"]);
        command.arg(format!("{}:{PASSWORD}", brand.user()));
        if tls {
            // With TLS 1.3 the end of an upload is chance: see guard_clients.
            command.args(["--ssl-reqd", "--insecure", "--tls-max", "1.2"]);
        }
        let (name, flags): (_, &[&str]) = match upload {
            true => (what.as_str(), &["-T", "-"]),
            false => ("file", &["-o", "-", "--no-buffer"]),
        };
        command.args(flags);
        command.arg(format!("ftp://{}/{name}", guarded.control(Family::V4)));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut transfer = Transfer {
            curl: process::spawn(command).context("cannot start curl")?,
            stored: upload.then(|| guarded.root.path().join(&what)),
            what: format!("{}, TLS: {tls}, upload: {upload}", brand.name()),
            received: Vec::new(),
        };
        match transfer.stored.clone() {
            Some(stored) => {
                let half = &guarded.content[..guarded.content.len() / 2];
                transfer.give(half)?;
                wait::until("the upload arrives", || {
                    fs::metadata(&stored).is_ok_and(|file| file.len() > 0)
                })?;
            }
            None => {
                let mut first = [0];
                let stdout = transfer.curl.stdout.as_mut().context("a pipe")?;
                stdout.read_exact(&mut first)?;
                transfer.received.extend(first);
            }
        }
        Ok(transfer)
    }

    fn give(&mut self, bytes: &[u8]) -> Result<()> {
        let stdin = self.curl.stdin.as_mut().context("a pipe")?;
        stdin.write_all(bytes).context("curl takes no more")
    }

    /// Fails if it is over already.
    fn ensure_under_way(&mut self) -> Result<()> {
        let ended = self.curl.try_wait()?;
        ensure!(ended.is_none(), "{}: over too early: {ended:?}", self.what);
        Ok(())
    }

    /// Gives or takes the rest, and compares.
    fn end(mut self, content: &[u8]) -> Result<()> {
        if self.stored.is_some() {
            self.give(&content[content.len() / 2..])?;
        }
        drop(self.curl.stdin.take());
        let mut stdout = self.curl.stdout.take().context("a pipe")?;
        stdout.read_to_end(&mut self.received)?;
        let mut said = String::new();
        let mut stderr = self.curl.stderr.take().context("a pipe")?;
        stderr.read_to_string(&mut said)?;
        let status = process::wait(&mut self.curl, wait::SOON)?.context("curl hangs")?;
        ensure!(status.success(), "{}: {status}: {said}", self.what);
        let Some(stored) = &self.stored else {
            return files::ensure_equal(&self.what, &self.received, content);
        };
        // A client may be gone before the server has written the last byte.
        wait::until("the upload is as long as it should be", || {
            fs::metadata(stored).is_ok_and(|file| file.len() == content.len() as u64)
        })?;
        files::ensure_same(stored, content)
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        // Nobody is left to hear of an error here.
        let _ = self.curl.kill();
        let _ = self.curl.wait();
    }
}

/// Downloads and uploads, in the clear and inside TLS.
fn transfers_survive(brand: Brand) -> Result<()> {
    for stays in [false, true] {
        survive(brand, stays).with_context(|| format!("closed: {stays}"))?;
    }
    Ok(())
}

#[test]
fn a_guard_that_is_killed_loses_no_transfer_of_vsftpd() -> Result<()> {
    need_root!();
    transfers_survive(Brand::Vsftpd)
}

#[test]
fn a_guard_that_is_killed_loses_no_transfer_of_pure_ftpd() -> Result<()> {
    need_root!();
    transfers_survive(Brand::PureFtpd)
}

#[test]
fn a_guard_that_is_killed_loses_no_transfer_of_proftpd() -> Result<()> {
    need_root!();
    transfers_survive(Brand::ProFtpd)
}

fn survive(brand: Brand, stays: bool) -> Result<()> {
    let (bpffs, folder) = (Bpffs::new()?, tempfile::tempdir()?);
    let config = closed(&bpffs, &folder)?;
    let on_exit = if stays { "closed" } else { "open" };
    let flags = [
        "--config",
        &config,
        "--on-exit",
        on_exit,
        "--ports",
        "30000-30063",
    ];
    let guarded = Scene {
        tls: Tls::Explicit,
        len: LONG,
        flags: &flags,
        ..Scene::of(brand)
    }
    .start()?;
    let mut transfers = Vec::new();
    for (tls, upload) in [(false, false), (true, false), (false, true), (true, true)] {
        transfers.push(Transfer::begin(&guarded, brand, tls, upload)?);
    }
    let content = guarded.content.clone();
    let mut waiting = guarded.session(Family::V4, 0)?;
    let hole = waiting.passive()?;
    let (lab, _server, _root) = guarded.kill_guard()?;
    for transfer in &mut transfers {
        transfer.ensure_under_way()?;
    }
    let wire = lab.client_wire()?;
    let stranger = syn(&wire, 1, hole)?;
    ensure!(
        (stranger == Answer::Nothing) == stays,
        "a stranger is answered with {stranger:?}"
    );
    for transfer in transfers {
        transfer.end(&content)?;
    }
    if stays {
        let fetched = waiting.fetch("RETR file", hole)?;
        files::ensure_equal("the download that was about to begin", &fetched, &content)?;
    }
    Ok(())
}

#[test]
fn a_killed_guard_leaves_the_host_as_it_was() -> Result<()> {
    need_root!();
    let guarded = Scene {
        flags: &["--ports", "30000-30063"],
        ..Scene::of(Brand::Vsftpd)
    }
    .start()?;
    let wire = guarded.lab.client_wire()?;
    let mut session = guarded.session(Family::V4, 0)?;
    let hole = session.passive()?;
    guarded.ensure_shut(&wire, 1, hole)?;
    let (lab, _server, _root) = guarded.kill_guard()?;
    wait::until("the locks are gone", || {
        let from = client_end(Family::V4, 1, wire.fresh_port());
        wire.probe(Segment::syn(from, hole), control_address(Family::V4))
            .is_ok_and(|answer| answer == Answer::SYN_ACK)
    })?;
    drop(lab);
    Ok(())
}

/// Sends SYNs to `hole` as a stranger until `over`; says how many, none of which was answered.
fn strangers(wire: &Wire, hole: SocketAddr, over: &AtomicBool) -> Result<usize> {
    let mut sent = 0;
    while !over.load(Relaxed) {
        let answer = syn(wire, 2, hole)?;
        ensure!(answer == Answer::Nothing, "a gap: SYN {sent}, {answer:?}");
        sent += 1;
    }
    Ok(sent)
}

#[test]
fn a_guard_that_ends_closed_works_on_with_tcx() -> Result<()> {
    need_root!();
    works_on("tcx")
}

#[test]
fn a_guard_that_ends_closed_works_on_with_native_xdp() -> Result<()> {
    need_root!();
    works_on("native")
}

/// Killed, followed by a second guard, which is stopped, and then released: at no moment until then
/// does a stranger get in.
fn works_on(attach: &str) -> Result<()> {
    let (bpffs, folder) = (Bpffs::new()?, tempfile::tempdir()?);
    let config = closed(&bpffs, &folder)?;
    let flags = ["--config", &config, "--attach", attach];
    let guarded = Scene {
        flags: &flags,
        ..Scene::of(Brand::Vsftpd)
    }
    .start()?;
    let content = guarded.content.clone();
    let (mut idle, mut session) = (
        guarded.session(Family::V4, 0)?,
        guarded.session(Family::V6, 0)?,
    );
    let waiting = idle.passive()?;
    let (lab, _server, _root) = guarded.kill_guard()?;
    let (wire, others) = (lab.client_wire()?, lab.client_wire()?);
    let over = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let strangers = scope.spawn(|| strangers(&others, waiting, &over));
        let done = take_over(&lab, &bpffs, &config, attach, &mut session, &content, &wire);
        over.store(true, Relaxed);
        let sent = strangers.join().ok().context("the strangers panicked")?;
        done.and(sent)
    })?;
    ensure!(sent > 20, "only {sent} strangers came: it proves nothing");
    files::ensure_equal(
        "the first guard's pinhole",
        &idle.fetch("RETR file", waiting)?,
        &content,
    )?;

    let hole = idle.passive()?;
    ensure!(syn(&wire, 1, hole)? == Answer::Nothing, "stopped, and open");
    let release = ["guard", "--release", "--config", &config];
    let released = lab
        .server
        .tool(daemon::binary()?.to_str().context("a path")?, &release, "")?;
    ensure!(
        released.transcript().contains("released"),
        "{}",
        released.transcript()
    );
    wait::until("the locks are gone", || {
        syn(&wire, 1, hole).is_ok_and(|answer| answer == Answer::SYN_ACK)
    })?;
    let left = pins(&home(&bpffs))?;
    ensure!(left.is_empty(), "pins are left: {left:?}");
    Ok(())
}

/// What there is without a daemon, and behind the second one.
fn take_over(
    lab: &Lab,
    bpffs: &Bpffs,
    config: &str,
    attach: &str,
    session: &mut Control,
    content: &[u8],
    wire: &Wire,
) -> Result<()> {
    let ensure_guarded = |session: &mut Control| -> Result<SocketAddr> {
        files::ensure_equal("a download", &session.retrieve("file")?, content)?;
        let hole = session.passive()?;
        ensure!(syn(wire, 1, hole)? == Answer::Nothing, "a stranger got in");
        Ok(hole)
    };
    let hole = ensure_guarded(session).context("without a daemon")?;
    let bpffs_path = bpffs.path();
    let shown = daemon::pinhole(&["status", "--bpffs", &bpffs_path], "")?.successful()?;
    ensure!(
        shown.transcript().contains("without a process"),
        "{}",
        shown.transcript()
    );

    let flags = ["--interface", "s0", "--config", config, "--attach", attach];
    let second = guard_in(lab, &flags)?;
    ensure!(
        second.has_said(|line| line.contains("taking over")),
        "{}",
        second.log()
    );
    let rows = Tables::of_process(second.pid())?.pinholes()?;
    ensure!(
        rows.len() == 2 && rows.iter().any(|row| row.port == hole.port()),
        "the pinholes of the first guard, and from between the guards: {rows:?}"
    );
    files::ensure_equal("its download", &session.fetch("RETR file", hole)?, content)?;
    ensure_guarded(session).context("behind the second guard")?;
    let refused = guard_in(lab, &flags).err().context("two guards at once")?;
    let refused = refused.to_string();
    ensure!(refused.contains("a guard runs already"), "{refused}");
    second.stop()
}

#[test]
fn pins_of_another_version_are_named_and_left_out() -> Result<()> {
    need_root!();
    let (bpffs, folder) = (Bpffs::new()?, tempfile::tempdir()?);
    let config = closed(&bpffs, &folder)?;
    let lab = Lab::new()?;
    guard_in(&lab, &["--interface", "s0", "--config", &config])?.kill9()?;
    let status = || -> Result<String> {
        let shown = daemon::pinhole(&["status", "--bpffs", &bpffs.path()], "")?;
        Ok(shown.transcript())
    };
    let shown = status()?;
    ensure!(shown.contains("without a process"), "{shown}");
    for pin in pins(&home(&bpffs))? {
        if pin.ends_with("CONTROL_COUNT") {
            fs::remove_file(pin)?;
        }
    }
    let shown = status()?;
    ensure!(
        shown.contains("left out: what is pinned") && !shown.contains("without a process"),
        "{shown}"
    );
    Ok(())
}

/// Where guards pin, among what the kernel itself may have in a bpffs.
fn home(bpffs: &Bpffs) -> PathBuf {
    Path::new(&bpffs.path()).join("pinhole-guard")
}

/// Every pin below a folder.
fn pins(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => found.extend(pins(&entry.path())?),
            false => found.push(entry.path()),
        }
    }
    Ok(found)
}

#[test]
fn a_lock_goes_with_its_interface() -> Result<()> {
    need_root!();
    let (bpffs, folder) = (Bpffs::new()?, tempfile::tempdir()?);
    let config = closed(&bpffs, &folder)?;
    let lab = Lab::new()?;
    let guard = guard_in(&lab, &["--config", &config])?;
    let locks = || -> Result<usize> {
        let pins = pins(&home(&bpffs))?;
        let names = pins.iter().filter_map(|pin| pin.file_name()?.to_str());
        Ok(names.filter(|name| name.starts_with("lock-")).count())
    };
    let until = |count: usize| {
        wait::poll_within(wait::SOON, &format!("{count} locks are pinned"), || {
            Ok((locks()? == count).then_some(()))
        })
        .with_context(|| guard.log())
    };
    until(1)?;
    lab.server
        .ip("link add d0 type veth peer name d1\naddr add 10.90.0.1/24 dev d0\nlink set d0 up\n")?;
    until(2)?;
    lab.server.ip("link del d0\n")?;
    until(1)?;
    guard.stop()
}

#[test]
fn a_guard_that_ends_open_takes_a_closed_ones_pins_away() -> Result<()> {
    need_root!();
    let (bpffs, folder) = (Bpffs::new()?, tempfile::tempdir()?);
    let config = closed(&bpffs, &folder)?;
    let flags = ["--config", &config, "--on-exit", "closed"];
    let guarded = Scene {
        flags: &flags,
        ..Scene::of(Brand::Vsftpd)
    }
    .start()?;
    let mut session = guarded.session(Family::V4, 0)?;
    let hole = session.passive()?;
    let (lab, _server, _root) = guarded.kill_guard()?;
    let wire = lab.client_wire()?;
    ensure!(syn(&wire, 1, hole)? == Answer::Nothing, "killed, and open");
    // Other settings than those of the maps that were left: a clean replacement.
    fs::write(
        &config,
        format!(
            "[guard]\nbpffs = \"{}\"\n[enforce]\nmax_pinholes = 5000\n",
            bpffs.path()
        ),
    )?;
    let open = guard_in(&lab, &["--interface", "s0", "--config", &config])?;
    ensure!(
        open.has_said(|line| line.contains("locks are replaced")),
        "{}",
        open.log()
    );
    ensure!(
        syn(&wire, 1, hole)? == Answer::Nothing,
        "replaced, and open"
    );
    session.fetch("RETR file", hole)?;
    let hole = session.passive()?;
    ensure!(
        syn(&wire, 1, hole)? == Answer::Nothing,
        "replaced, and open"
    );
    open.stop()?;
    wait::until("the locks are gone", || {
        syn(&wire, 1, hole).is_ok_and(|answer| answer == Answer::SYN_ACK)
    })?;
    Ok(())
}
