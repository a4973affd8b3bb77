//! What the journal gets: the priority of each line, no time beside its own, and an exit status that
//! tells a service manager whether another start is of any use.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use ftp_tests::{
    control::Control,
    daemon::{self, Daemon},
    lab::{self, Family, Lab},
    need_root, process,
    settings::Settings,
    site, wait,
};

/// Tells a program, as systemd does, that its standard error is the journal.
const JOURNAL: &str =
    "JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) && export JOURNAL_STREAM && exec \"$@\"";

fn as_a_service(lab: &Lab) -> Result<Command> {
    let mut command = lab.server.command("sh");
    command
        .args(["-c", JOURNAL, "sh"])
        .arg(daemon::binary()?)
        .args(["serve", "--config"]);
    Ok(command)
}

#[test]
fn each_line_has_its_priority() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    let folder = tempfile::tempdir()?;
    for format in ["text", "json"] {
        let settings = Settings::anonymous(folder.path())?.set("log.format", format)?;
        let file = folder.path().join("pinhole.toml");
        fs::write(&file, settings.text())?;
        let mut command = as_a_service(&lab)?;
        command.arg(&file);
        let daemon = Daemon::start_command(command, tempfile::tempdir()?)?;
        let from = lab::client_address(Family::V4, 0);
        let mut session = Control::open(&lab.client, from, site::control_address(Family::V4))?;
        session.expect("USER nobody", 331)?;
        session.expect("PASS wrong", 530)?;
        let said = |prefix: &str, what: &str| {
            daemon.has_said(|line| line.starts_with(prefix) && line.contains(what))
        };
        let (info, warn) = match format {
            // Nothing but the level is before a message.
            "text" => ("<6> INFO ready", "<4> WARN login refused"),
            _ => ("<6>{\"timestamp\":\"2", "<4>{\"timestamp\":\"2"),
        };
        wait::until("the refusal is logged", || said(warn, "login refused"))?;
        ensure!(said(info, "ready"), "{}", daemon.log());
        let without = |line: &str| !line.starts_with('<') || line.get(2..3) != Some(">");
        ensure!(!daemon.has_said(without), "{}", daemon.log());
    }
    Ok(())
}

#[test]
fn settings_that_cannot_be_used_have_a_status_of_their_own() -> Result<()> {
    need_root!();
    const EX_CONFIG: i32 = 78;
    let lab = Lab::new()?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("pinhole.toml");
    let end_with = |text: &str, flags: &[&str]| -> Result<(i32, String)> {
        fs::write(&file, text)?;
        let mut command = as_a_service(&lab)?;
        command.arg(&file).args(flags);
        let finished = process::run(command, b"", wait::SOON)?;
        let code = finished.status.code().context("killed")?;
        Ok((code, finished.transcript()))
    };
    let end = |text: &str| end_with(text, &[]);
    let (code, said) = end("lissten = 1\n")?;
    let wanted = format!("<3>pinhole: {}:1:1: unknown field", file.display());
    ensure!(
        code == EX_CONFIG && said.starts_with(&wanted),
        "{code}: {said}"
    );
    // Not of the file itself, but of what it names.
    let (code, said) = end("")?;
    ensure!(
        code == EX_CONFIG && said.contains("nobody can log in"),
        "{code}: {said}"
    );
    // Of flags, which no file can contradict.
    let settings = Settings::anonymous(folder.path())?;
    for flags in ["--log=warning", "--interface=auto --interface=lo"] {
        let flags: Vec<_> = flags.split(' ').collect();
        let (code, said) = end_with(&settings.text(), &flags)?;
        ensure!(code == EX_CONFIG, "{code}: {said}");
    }
    // An address that may be there at another time.
    let settings = settings.listen(&["192.0.2.1:21".parse()?])?;
    let (code, said) = end_with(&settings.text(), &["--log-format=json"])?;
    let said = said.strip_prefix("<3>").context(said.clone())?;
    let said: serde_json::Value = serde_json::from_str(said).context(said.to_owned())?;
    let message = said["message"].as_str().unwrap_or_default();
    ensure!(code == 1 && message.contains("192.0.2.1:21"), "{said}");
    let (code, said) = end(&settings.text())?;
    ensure!(
        code == 1 && said.starts_with("<3>pinhole: "),
        "{code}: {said}"
    );
    for unit in [
        include_str!("../../dist/pinhole.service"),
        include_str!("../../dist/pinhole-guard.service"),
    ] {
        ensure!(unit.contains(&format!("\nRestartPreventExitStatus={EX_CONFIG}\n")));
    }
    Ok(())
}
