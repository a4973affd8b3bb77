//! A log that cannot be written, or that nobody reads, is no reason to stop serving.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use ftp_tests::{
    control::Control,
    daemon,
    lab::{self, Family, Lab},
    need_root, process,
    settings::Settings,
    site, wait,
};
use rustix::process::{Pid, Signal, kill_process};

/// Serves with this as its standard error, which may tell nobody when it is ready.
fn serve(lab: &Lab, settings: &Settings, log: impl Into<Stdio>) -> Result<Child> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("pinhole.toml");
    fs::write(&file, settings.text())?;
    let mut command = lab.server.command(daemon::binary()?);
    command.args(["serve", "--config"]).arg(&file).stderr(log);
    let mut daemon = process::spawn(command)?;
    wait::poll_within(wait::SOON, "the server greets", || {
        if let Some(status) = daemon.try_wait()? {
            anyhow::bail!("the server has ended: {status}");
        }
        Ok(session(lab).ok())
    })?;
    Ok(daemon)
}

fn session(lab: &Lab) -> Result<Control> {
    let from = lab::client_address(Family::V4, 0);
    Control::anonymous(&lab.client, from, site::control_address(Family::V4))
}

fn stop(mut daemon: Child) -> Result<()> {
    kill_process(Pid::from_child(&daemon), Signal::TERM)?;
    let status = process::wait(&mut daemon, wait::SOON)?;
    let status = status.context("it runs long after SIGTERM")?;
    ensure!(status.success(), "{status}");
    Ok(())
}

#[test]
fn a_full_disk_stops_nobody() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    let root = tempfile::tempdir()?;
    fs::write(root.path().join("file"), "content")?;
    let full = File::options().write(true).open("/dev/full")?;
    let daemon = serve(&lab, &Settings::anonymous(root.path())?, full)?;
    ensure!(session(&lab)?.retrieve("file")? == b"content");
    stop(daemon)
}

#[test]
fn a_pipe_that_nobody_reads_stops_nobody() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    let root = tempfile::tempdir()?;
    fs::write(root.path().join("file"), "content")?;
    let settings = Settings::anonymous(root.path())?;
    for is_read in [false, true] {
        let (reader, mut writer) = std::io::pipe()?;
        // pipe(7): as much as it takes. From now on whoever writes waits.
        let filling = "x".repeat(1 << 16);
        writer.write_all(filling.as_bytes())?;
        let daemon = serve(&lab, &settings, writer)?;
        ensure!(session(&lab)?.retrieve("file")? == b"content");
        let reader = BufReader::new(reader);
        if !is_read {
            stop(daemon)?;
            continue;
        }
        let said = std::thread::spawn(move || reader.lines().collect::<Result<Vec<_>, _>>());
        stop(daemon)?;
        let said = said.join().ok().context("it panicked")??;
        let place = |what: &str| {
            let found = said.iter().position(|line| line.contains(what));
            found.with_context(|| format!("no {what:?} in:\n{}", said.join("\n")))
        };
        // What was said while nobody read, and the end, in order.
        let places = [
            place("INFO ready")?,
            place("INFO transfer")?,
            place("INFO stopped")?,
        ];
        ensure!(places.is_sorted(), "{places:?}");
        ensure!(said.last().is_some_and(|line| line.contains("stopped")));
    }
    Ok(())
}
