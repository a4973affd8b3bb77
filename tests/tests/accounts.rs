//! Accounts with settings, as real clients meet them: files of a user of the host, and limits that
//! are reached.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use ftp_tests::{
    clients::{self, Client, Curl, Lftp, Login, Mode, Task},
    daemon::Daemon,
    files,
    lab::{Family, Lab},
    need_root,
    site::{self, PASSWORD, Site, USER},
    wait,
};

/// A user of the host that nobody else is.
const UID: u32 = 54_321;

fn site(flags: &[&str]) -> Result<Site> {
    Site::with_account_in(Lab::new()?, flags, Ok)
}

fn login() -> Login<'static> {
    Login {
        server: site::control_address(Family::V4),
        user: USER,
        password: PASSWORD,
        mode: Mode::Epsv,
        tls: None,
    }
}

fn upload(site: &Site, client: &dyn Client, local: &Path, remote: &str) -> Result<String> {
    let task = Task::Upload { local, remote };
    let done = clients::perform(&site.lab.client, client, &login(), &task)?;
    Ok(done.transcript())
}

fn download(site: &Site, client: &dyn Client, remote: &str, local: &Path) -> Result<String> {
    let task = Task::Download { remote, local };
    let done = clients::perform(&site.lab.client, client, &login(), &task)?;
    Ok(done.transcript())
}

/// What the client said when it was refused.
fn refused(outcome: Result<String>) -> Result<String> {
    match outcome {
        Ok(said) => anyhow::bail!("it was not refused:\n{said}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

#[test]
fn files_are_the_users_on_a_shared_host() -> Result<()> {
    need_root!();
    let uid = UID.to_string();
    let site = site(&["--uid", &uid, "--gid", &uid, "--umask", "027"])?;
    let local = tempfile::tempdir()?;
    let here = local.path().join("here");
    let content = files::noise(1, 1_000_003);
    fs::write(&here, &content)?;
    fs::write(site.path("roots"), "not for users")?;
    fs::set_permissions(site.path("roots"), fs::Permissions::from_mode(0o600))?;
    for client in [&Curl as &dyn Client, &Lftp] {
        let name = format!("{}.up", client.name());
        upload(&site, client, &here, &name)?;
        let made = fs::metadata(site.path(&name))?;
        let found = (made.uid(), made.gid(), made.mode() & 0o777);
        ensure!(found == (UID, UID, 0o640), "{name}: {found:?}");
        let back = local.path().join(&name);
        download(&site, client, &name, &back)?;
        files::ensure_same(&back, &content)?;
        let said = refused(download(&site, client, "roots", &back))?;
        ensure!(said.contains("550"), "{said}");
        let said = refused(upload(&site, client, &here, "roots"))?;
        ensure!(
            said.contains("550") || said.contains("Access failed"),
            "{said}"
        );
    }
    files::ensure_same(&site.path("roots"), b"not for users")
}

/// Swaps a directory of the tree against a link that leads out of it, as fast as it can.
fn swap(root: &Path, stop: &AtomicBool) {
    let cwd = rustix::fs::CWD;
    let (a, b) = (root.join("dir"), root.join("link"));
    while !stop.load(Ordering::Relaxed) {
        let _ = rustix::fs::renameat_with(cwd, &a, cwd, &b, rustix::fs::RenameFlags::EXCHANGE);
    }
}

/// Ends the other thread also when an assertion ends this one.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_writable_root_leads_nowhere_while_links_are_swapped() -> Result<()> {
    need_root!();
    let uid = UID.to_string();
    let site = site(&["--uid", &uid, "--gid", &uid])?;
    // Outside there is a file that the user could read and write, if there were a way.
    let outside = tempfile::tempdir()?;
    fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o777))?;
    fs::write(outside.path().join("file"), "outside")?;
    fs::set_permissions(
        outside.path().join("file"),
        fs::Permissions::from_mode(0o666),
    )?;
    fs::create_dir(site.path("dir"))?;
    fs::write(site.path("dir/file"), "inside")?;
    for (name, mode) in [("dir", 0o777), ("dir/file", 0o666)] {
        fs::set_permissions(site.path(name), fs::Permissions::from_mode(mode))?;
    }
    symlink(outside.path(), site.path("link"))?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| swap(site.root.path(), &stop));
        let _stop = StopOnDrop(&stop);
        let mut session = site.writer(Family::V4)?;
        let (mut served, mut kept_out) = (0, 0);
        let deadline = Instant::now() + wait::SOON;
        while served < 100 || kept_out < 100 {
            ensure!(Instant::now() < deadline, "no race: {served} {kept_out}");
            let to = session.passive()?;
            let data = session.data(to)?;
            match session.command("STOR dir/file")?.code {
                150 => {
                    drop(data);
                    session.expect_reply(226)?;
                    served += 1;
                }
                450 | 550 => kept_out += 1,
                other => anyhow::bail!("STOR: {other}"),
            }
            for command in [
                "MKD dir/new",
                "RMD dir/new",
                "SIZE dir/file",
                "CWD dir",
                "CWD /",
            ] {
                let code = session.command(command)?.code;
                ensure!(
                    [213, 250, 257, 450, 550].contains(&code),
                    "{command}: {code}"
                );
            }
        }
        Ok(())
    })?;
    files::ensure_same(&outside.path().join("file"), b"outside")?;
    ensure!(
        fs::read_dir(outside.path())?.count() == 1,
        "something was made outside"
    );
    Ok(())
}

#[test]
fn a_quota_holds_for_real_clients_and_over_a_restart() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    let (root, local) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let users = local.path().join("users.toml");
    ftp_tests::daemon::add_user(&users, USER, PASSWORD, root.path())?;
    ftp_tests::daemon::set_user(
        &users,
        USER,
        &["--quota-bytes", "1MB", "--file-size", "900KB"],
    )?;
    let settings = ftp_tests::settings::Settings::anonymous(root.path())?.users(&users)?;
    let put = |size: usize, name: &str| {
        let file = local.path().join(size.to_string());
        fs::write(&file, files::noise(1, size))?;
        let task = Task::Upload {
            local: &file,
            remote: name,
        };
        let done = clients::perform(&lab.client, &Curl, &login(), &task);
        done.map(|done| done.transcript())
    };
    let daemon = Daemon::start(&lab.server, &settings)?;
    let said = refused(put(900_001, "large"))?;
    ensure!(said.contains("552 File too large"), "{said}");
    fs::remove_file(root.path().join("large"))?;
    daemon.stop()?;

    let daemon = Daemon::start(&lab.server, &settings)?;
    put(600_000, "first")?;
    let said = refused(put(400_001, "second"))?;
    ensure!(said.contains("552 Quota exceeded"), "{said}");
    fs::remove_file(root.path().join("second"))?;
    daemon.kill9()?;

    // Counted from the disk, with what was removed there meanwhile.
    let _daemon = Daemon::start(&lab.server, &settings)?;
    let said = refused(put(400_001, "second"))?;
    ensure!(said.contains("552 Quota exceeded"), "{said}");
    put(400_000, "second").map(drop)
}

#[test]
fn rates_and_sessions_are_the_accounts() -> Result<()> {
    need_root!();
    let site = site(&[
        "--sessions",
        "2",
        "--download-rate",
        "1MB",
        "--upload-rate",
        "1MB",
    ])?;
    let content = site.put("file", 1_500_000)?;
    let local = tempfile::tempdir()?;
    let file = |client: &dyn Client| local.path().join(client.name());
    for client in [&Curl as &dyn Client, &Lftp] {
        let start = Instant::now();
        download(&site, client, "file", &file(client))?;
        upload(&site, client, &file(client), client.name())?;
        let took = start.elapsed();
        // 2.8 s at 1 MB/s, with a tenth of a second's worth free each way.
        ensure!(
            took >= Duration::from_millis(2700),
            "{}: {took:?}",
            client.name()
        );
        files::ensure_same(&site.path(client.name()), &content)?;
    }
    let place = || {
        wait::poll_within(wait::SOON, "a place is free", || {
            Ok(site.writer(Family::V4).ok())
        })
    };
    let _places = (place()?, place()?);
    let said = refused(download(&site, &Curl, "file", &file(&Curl)))?;
    ensure!(said.contains("530 Too many sessions"), "{said}");
    Ok(())
}

#[test]
fn passive_ports_are_the_accounts_in_the_kernel_too() -> Result<()> {
    need_root!();
    let site = site(&["--passive-ports", "30007"])?;
    site.put("file", 1000)?;
    let mut session = site.writer(Family::V4)?;
    for _ in 0..5 {
        let to = session.passive()?;
        ensure!(to.port() == 30007, "{to}");
        session.fetch("RETR file", to)?;
    }
    site.until_no_pinhole()
}
