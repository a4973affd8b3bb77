//! What goes on without the guard where it was told so: the kernel half, until another guard takes it
//! over or an admin releases the host. What a guard that is killed leaves to transfers is in
//! `guard_killed`.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    bpffs::Bpffs,
    control::Control,
    daemon, files,
    guarded::{Scene, guard_in, syn},
    lab::{Family, Lab},
    need_root,
    peer::Brand,
    wait,
    wire::{Answer, Wire},
};
use ftp_user::pinholes::inspect::Tables;

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
    let config = bpffs.config_of_guard(folder.path())?;
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
    ensure!(!home(&bpffs).exists(), "the folder of the pins is left");
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

    let range = hole.port().to_string();
    let mut flags = vec!["--interface", "s0", "--config", config, "--attach", attach];
    flags.extend(["--ports", &range]);
    let second = guard_in(&lab.server, &flags)?;
    ensure!(
        second.has_said(|line| line.contains("taking over"))
            && !second.has_said(|line| line.contains("shut out")),
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
    let refused = guard_in(&lab.server, &flags)
        .err()
        .context("two guards at once")?;
    let refused = refused.to_string();
    ensure!(refused.contains("a guard runs already"), "{refused}");
    second.stop()
}

#[test]
fn pins_of_another_version_are_named_and_left_out() -> Result<()> {
    need_root!();
    let (bpffs, folder) = (Bpffs::new()?, tempfile::tempdir()?);
    let config = bpffs.config_of_guard(folder.path())?;
    let lab = Lab::new()?;
    guard_in(&lab.server, &["--interface", "s0", "--config", &config])?.kill9()?;
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
    let config = bpffs.config_of_guard(folder.path())?;
    let lab = Lab::new()?;
    let guard = guard_in(&lab.server, &["--config", &config])?;
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
    let config = bpffs.config_of_guard(folder.path())?;
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
    let open = guard_in(&lab.server, &["--interface", "s0", "--config", &config])?;
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
