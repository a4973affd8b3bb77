//! A guard that is killed loses no transfer, whatever it was told to leave behind.

use std::{
    fs,
    io::{Read, Write as _},
    path::PathBuf,
    process::{Child, Stdio},
};

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    bpffs::Bpffs,
    files,
    frame::Segment,
    guarded::{Guarded, Scene, syn},
    lab::Family,
    need_root,
    peer::{Brand, INCOMING, PASSWORD, Tls},
    process,
    site::{client_end, control_address},
    wait,
    wire::Answer,
};

/// More than fits into the buffers of a connection that nobody reads.
const LONG: usize = 6_000_000;

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
    let config = bpffs.config_of_guard(folder.path())?;
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
