//! Users of the host by PAM, for a daemon that is built with it: `cargo xtask test --pam`. The users
//! and the PAM service are the test's own, in a mount namespace that only the daemon is in.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    control::Control,
    daemon::{self, Daemon},
    files,
    lab::{self, Family, Lab, Options},
    need_root, process,
    settings::Settings,
    site::{PASSWORD, USER, control_address},
    wait,
};

/// Binds the test's files over the host's, then becomes the daemon.
const PRIVATELY: &str = "set -e\n\
    mount --make-rprivate /\n\
    for name in passwd shadow group pam.d; do mount --bind \"$1/$name\" /etc/$name; done\n\
    shift\n\
    exec \"$@\"\n";

const UID: u32 = 4242;

/// As crypt(3) has it.
fn crypted(password: &str) -> Result<String> {
    let mut command = std::process::Command::new("openssl");
    command.args(["passwd", "-6", "-salt", "salt", password]);
    let made = process::run(command, b"", wait::SOON)?.successful()?;
    Ok(String::from_utf8(made.stdout)?.trim().to_owned())
}

/// Users of a host: alice, one whose account has expired, one of the system's own, and root; all
/// with the same password.
fn write_host(folder: &Path, home: &Path) -> Result<()> {
    let (home, hash) = (home.display(), crypted(PASSWORD)?);
    let passwd = format!(
        "root:x:0:0::{home}:/bin/sh\n\
         nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n\
         service:x:500:500::{home}:/bin/sh\n\
         alice:x:{UID}:{UID}::{home}:/bin/sh\n\
         expired:x:4243:4243::{home}:/bin/sh\n"
    );
    let shadow = format!(
        "root:{hash}:1::::::\nservice:{hash}:1::::::\nalice:{hash}:1::::::\n\
         expired:{hash}:1:::::2:\n"
    );
    let group = format!("root:x:0:\nalice:x:{UID}:\nfriends:x:4300:alice\n");
    fs::write(folder.join("passwd"), passwd)?;
    fs::write(folder.join("shadow"), shadow)?;
    fs::write(folder.join("group"), group)?;
    fs::create_dir(folder.join("pam.d"))?;
    let sample = include_str!("../../dist/pinhole.pam");
    Ok(fs::write(folder.join("pam.d/pinhole"), sample)?)
}

#[test]
#[ignore = "needs a daemon with PAM: `cargo xtask test --pam`"]
fn users_of_the_host_log_in_to_their_homes() -> Result<()> {
    need_root!();
    let lab = Lab::with(Options {
        clients: 7,
        ..Options::default()
    })?;
    let (folder, root) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let home = folder.path().join("home");
    fs::create_dir(&home)?;
    std::os::unix::fs::chown(&home, Some(UID), Some(UID))?;
    write_host(folder.path(), &home)?;
    let users = folder.path().join("users.toml");
    daemon::add_user(&users, USER, PASSWORD, root.path())?;
    let settings = Settings::anonymous(root.path())?.users(&users)?;
    let settings = settings
        .set("pam.min_uid", 1000)?
        .set("limits.login_failures", 1000)?;
    let file = folder.path().join("pinhole.toml");
    fs::write(&file, settings.text())?;
    let mut command = lab.server.command("unshare");
    command
        .args(["--mount", "sh", "-c", PRIVATELY, "sh"])
        .arg(folder.path())
        .arg(daemon::binary()?)
        .args(["serve", "--config"])
        .arg(&file);
    let daemon = Daemon::start_command(command, tempfile::tempdir()?)?;

    let from = lab::client_address(Family::V4, 0);
    let server = control_address(Family::V4);
    let log_in =
        |user: &str, password: &str| Control::logged_in(&lab.client, from, server, user, password);
    let content = files::noise(1, 10_000);
    let mut alice = log_in("alice", PASSWORD)?;
    alice.store("STOR file", &content)?;
    let stored = fs::metadata(home.join("file"))?;
    ensure!((stored.uid(), stored.gid()) == (UID, UID), "{stored:?}");
    files::ensure_equal("what was stored", &alice.retrieve("file")?, &content)?;
    // The host's permissions are theirs: another's directory is not, a group of theirs is.
    fs::create_dir(home.join("others"))?;
    fs::create_dir(home.join("friends"))?;
    std::os::unix::fs::chown(home.join("friends"), None, Some(4300))?;
    fs::set_permissions(
        home.join("friends"),
        std::os::unix::fs::PermissionsExt::from_mode(0o770),
    )?;
    alice.expect("MKD others/mine", 550)?;
    alice.expect("MKD friends/mine", 257)?;

    // A users file's come beside them.
    log_in(USER, PASSWORD)?.expect("QUIT", 221)?;
    let refused = |n: u16, user: &str, password: &str| -> Result<()> {
        // An address of its own, so that guesses do not make the next one wait.
        let from = lab::client_address(Family::V4, n);
        let mut guess = Control::open(&lab.client, from, server)?;
        guess.expect(&format!("USER {user}"), 331)?;
        let begun = Instant::now();
        guess.expect(&format!("PASS {password}"), 530)?;
        let took = begun.elapsed();
        ensure!(took >= Duration::from_millis(300), "known by its {took:?}");
        Ok(())
    };
    let guesses = [
        // Of the users file; PAM is not asked.
        (USER, "wrong"),
        ("alice", "wrong"),
        ("mallory", PASSWORD),
        ("service", PASSWORD),
        ("root", PASSWORD),
        ("expired", PASSWORD),
    ];
    for (n, (user, password)) in (1..).zip(guesses) {
        refused(n, user, password).with_context(|| user.to_owned())?;
    }
    // Why, is for the log alone.
    for (user, why) in [
        ("service", "below pam.min_uid"),
        ("expired", "PAM lets nobody in"),
    ] {
        wait::until(user, || {
            daemon.has_said(|line| line.contains(why) && line.contains(user))
        })?;
    }
    daemon.stop()
}
