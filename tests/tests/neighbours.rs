//! Two Pinholes on one host: on ports of their own they do not know of each other; on the same ones the
//! second says so before it locks anything.

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    daemon::{self, Daemon},
    guarded::guard_in,
    lab::{Family, Lab},
    need_root,
    settings::Settings,
    site::{Site, server_end},
};

/// A daemon on another port, some of whose passive ports are the site's, too.
fn overlapping(root: &std::path::Path) -> Result<Settings> {
    Settings::anonymous(root)?
        .listen(&[server_end(Family::V4, 2121)])?
        .set("passive.ports", "30010-30020")
}

fn refusal(started: Result<Daemon>) -> Result<String> {
    let refused = started.err().context("it started")?;
    Ok(format!("{refused:#}"))
}

#[test]
fn a_server_beside_another_on_its_ports_is_refused() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    let mut session = site.anonymous(Family::V4, 0)?;
    let root = tempfile::tempdir()?;
    let settings = overlapping(root.path())?;
    let who = format!("another `pinhole serve` (pid {})", site.daemon.pid());
    // Nor could one that locks nothing: the site's lock shuts its ports all the same.
    for settings in [
        settings.clone(),
        settings.clone().set("enforce.enabled", false)?,
    ] {
        let said = refusal(Daemon::start(&site.lab.server, &settings))?;
        ensure!(
            said.contains(&who) && said.contains("30010-30015 on s0"),
            "{said}"
        );
    }
    let said = refusal(guard_in(&site.lab.server, &["--ports", "30015-30020"]))?;
    ensure!(
        said.contains(&who) && said.contains("30015 on s0"),
        "{said}"
    );

    // Without the privilege to look into it, it is a warning.
    let (folder, mut command) = (tempfile::tempdir()?, site.lab.server.command("setpriv"));
    let file = folder.path().join("pinhole.toml");
    std::fs::write(&file, settings.text())?;
    let args = ["--bounding-set=-sys_admin", "--"];
    command.args(args).arg(daemon::binary()?);
    command.args(["serve", "--config"]).arg(&file);
    let blind = Daemon::start_command(command, folder)?;
    let warned = |line: &str| line.contains("WARN") && line.contains("without CAP_SYS_ADMIN");
    ensure!(blind.has_said(warned), "{}", blind.log());
    blind.stop()?;

    let apart = settings.set("passive.ports", "30016-30020")?;
    let beside = Daemon::start(&site.lab.server, &apart)?;
    session.listing("LIST")?;
    beside.stop()
}

#[test]
fn a_server_on_a_guards_ports_is_refused() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    let root = tempfile::tempdir()?;
    let settings = overlapping(root.path())?;
    let flags = ["--interface", "s0", "--ports", "30000-30015"];
    let dry = guard_in(&lab.server, &[&flags[..], &["--dry-run"]].concat())?;
    Daemon::start(&lab.server, &settings)?.stop()?;
    dry.stop()?;

    let guard = guard_in(&lab.server, &flags)?;
    let said = refusal(Daemon::start(&lab.server, &settings))?;
    let who = format!("a `pinhole guard` (pid {})", guard.pid());
    ensure!(
        said.contains(&who) && said.contains("30010-30015 on s0"),
        "{said}"
    );
    // It may be the one that the guard is for.
    let guarded = settings.set("enforce.enabled", false)?;
    Daemon::start(&lab.server, &guarded)?.stop()?;
    guard.stop()
}
