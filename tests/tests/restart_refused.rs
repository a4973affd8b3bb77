//! Restarts (SIGUSR2) that come to nothing: the old process goes on, and nobody notices.

use std::{fs, os::unix::fs::symlink};

use anyhow::{Result, ensure};
use ftp_tests::{
    daemon, files,
    lab::{Family, Options},
    need_root,
    site::Site,
    wait,
};
use rustix::process::Signal;

#[test]
fn a_new_process_that_fails_leaves_the_old_one_as_it_was() -> Result<()> {
    need_root!();
    let site = Site::with(Options::default(), |settings| {
        settings.set("enforce.attach", "native")
    })?;
    let small = site.put("small", 1000)?;
    let mut session = site.anonymous(Family::V4, 0)?;
    let waiting = session.passive()?;
    let file = site.file("pinhole.toml");
    let settings = site.settings.clone();
    site.besieged(&small, || {
        let attempt = |text: &str, why: &str| {
            fs::write(&file, text)?;
            site.daemon.signal(Signal::USR2)?;
            site.until_refused(why)
        };
        attempt("nonsense\n", "pinhole.toml:1")?;
        let other = settings.clone().set("passive.ports", "40000-40009")?;
        attempt(&other.text(), "passive.ports has changed")?;
        // Found out only when the locks are being replaced.
        let other = settings.clone().set("enforce.attach", "generic")?;
        attempt(&other.text(), "takes only one XDP program")?;
        fs::write(&file, settings.text())?;
        let program = site.file("pinhole");
        fs::remove_file(&program)?;
        site.daemon.signal(Signal::USR2)?;
        site.until_refused("cannot start")?;
        symlink("/bin/true", &program)?;
        site.daemon.signal(Signal::USR2)?;
        site.until_refused("the other process has ended")?;
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
        !site
            .daemon
            .has_said(|line| line.contains("has taken over;")),
        "{}",
        site.daemon.log()
    );
    // And then one that does not fail.
    site.takes_over()?;
    site.visit(&small)?;
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
    let site = Site::with(Options::default(), |settings| {
        settings.set("timeouts.takeover", "3s")
    })?;
    let small = site.put("small", 1000)?;
    let mut session = site.anonymous(Family::V4, 0)?;
    let waiting = session.passive()?;
    let program = site.file("pinhole");
    fs::remove_file(&program)?;
    symlink("/bin/sh", &program)?;
    for words in [0, 1, 2] {
        fs::write(site.file("serve"), hanging(words))?;
        let said = site.daemon.log().len();
        site.daemon.signal(Signal::USR2)?;
        wait::until("the restart is refused", || {
            let log = site.daemon.log();
            log[said..].contains("did not take over in time")
        })?;
        // It had come to where it hangs, and was not ended by the channel's end.
        fs::remove_file(site.file("said"))?;
        ensure!(!site.file("outlived").exists(), "{words} words");
        let pid = fs::read_to_string(site.file("hanging"))?;
        // Whoever is the parent of orphans here may not have looked yet.
        let state = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        ensure!(state.is_empty() || state.contains(") Z "), "{state}");
        site.visit(&small)?;
    }
    files::ensure_equal(
        "by the pinhole that waited",
        &session.fetch("RETR small", waiting)?,
        &small,
    )?;
    fs::remove_file(&program)?;
    symlink(daemon::binary()?, &program)?;
    site.takes_over()?;
    site.visit(&small)?;
    files::ensure_equal("the old session", &session.retrieve("small")?, &small)
}
