//! Clients that cannot be driven through every task, each doing what it is used for: wget, ncftp and
//! rclone; and what curl and lftp have beyond plain transfers.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use ftp_tests::{
    certificate, debian, files,
    lab::{Family, Lab},
    need_root,
    process::{self, Finished},
    site::{self, PASSWORD, Site, USER},
};

const LIMIT: Duration = Duration::from_secs(60);
/// More than a socket buffer holds, and no multiple of any block size.
const LEN: usize = 1_000_001;

/// Runs a client on the client's host; an error unless it succeeds by its own account.
fn run(site: &Site, program: &Path, args: &[&str]) -> Result<Finished> {
    let mut command = site.lab.client.command(program);
    command
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env("LC_ALL", "C.UTF-8")
        .env("TERM", "dumb")
        .current_dir("/");
    let what = || format!("{} {args:?}", program.display());
    process::run(command, b"", LIMIT)
        .and_then(Finished::successful)
        .with_context(what)
}

/// The server's folder `folder`: two texts, a log, a hidden file, and a folder with a file.
fn fill(site: &Site, folder: &str) -> Result<BTreeMap<String, Vec<u8>>> {
    fs::create_dir_all(site.path(folder).join("deep"))?;
    let names = ["a.txt", "b.txt", "c.log", ".hidden", "deep/d.txt"];
    names
        .into_iter()
        .map(|name| {
            let content = files::noise(name.bytes().map(u64::from).sum(), LEN);
            fs::write(site.path(folder).join(name), &content)?;
            Ok((name.to_owned(), content))
        })
        .collect()
}

fn host_and_port(family: Family) -> (String, String) {
    let server = site::control_address(family);
    (server.ip().to_string(), server.port().to_string())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a temporary path is text")
}

#[test]
fn wget_fetches_by_pattern_and_whole_trees() -> Result<()> {
    need_root!();
    let site = Site::with_writer(Ok)?;
    let content = fill(&site, "folder")?;
    for family in Family::BOTH {
        let local = tempfile::tempdir()?;
        let url = format!(
            "ftp://{USER}:{PASSWORD}@{}/folder",
            site::control_address(family)
        );
        let into = ["-nv", "-nd", "-P", text(local.path())?];
        let what = format!("{url}/*.txt");
        let args = [&into[..], &[&what]].concat();
        run(&site, Path::new("wget"), &args)?;
        for name in ["a.txt", "b.txt"] {
            files::ensure_same(&local.path().join(name), &content[name])?;
        }
        ensure!(!local.path().join("c.log").exists(), "more than asked for");

        let tree = tempfile::tempdir()?;
        let into = ["-nv", "-r", "-nH", "-P", text(tree.path())?];
        let what = format!("{url}/");
        let args = [&into[..], &[&what]].concat();
        run(&site, Path::new("wget"), &args)?;
        for (name, bytes) in &content {
            files::ensure_same(&tree.path().join("folder").join(name), bytes)?;
        }
    }
    Ok(())
}

#[test]
fn ncftp_fetches_by_pattern_lists_and_stores() -> Result<()> {
    need_root!();
    let package = debian::peer("ncftp")?;
    let site = Site::with_writer(Ok)?;
    let content = fill(&site, "folder")?;
    let local = tempfile::tempdir()?;
    let (host, port) = host_and_port(Family::V4);
    let login = ["-u", USER, "-p", PASSWORD, "-P", &port];

    let get = package.program("usr/bin/ncftpget")?;
    let what = ["-V", &host, text(local.path())?, "folder/*.txt"];
    run(&site, &get, &[&login[..], &what].concat())?;
    for name in ["a.txt", "b.txt"] {
        files::ensure_same(&local.path().join(name), &content[name])?;
    }
    ensure!(!local.path().join("c.log").exists(), "more than asked for");
    let what = ["-V", "-R", &host, text(local.path())?, "folder"];
    run(&site, &get, &[&login[..], &what].concat())?;
    files::ensure_same(
        &local.path().join("folder/deep/d.txt"),
        &content["deep/d.txt"],
    )?;

    let put = package.program("usr/bin/ncftpput")?;
    let (source, moment) = (local.path().join("a.txt"), moment());
    File::open(&source)?.set_modified(moment)?;
    let what = ["-V", "-m", &host, "made/here", text(&source)?];
    run(&site, &put, &[&login[..], &what].concat())?;
    let stored = site.path("made/here/a.txt");
    files::ensure_same(&stored, &content["a.txt"])?;
    ensure!(
        fs::metadata(&stored)?.modified()? == moment,
        "the time was not kept"
    );

    let ls = package.program("usr/bin/ncftpls")?;
    let url = format!("ftp://{host}:{port}/folder/");
    let listed = run(&site, &ls, &[&login[..], &["-1", &url]].concat())?.transcript();
    for name in ["a.txt", "b.txt", "c.log", "deep"] {
        ensure!(listed.contains(name), "no {name} in:\n{listed}");
    }
    Ok(())
}

/// A moment that no file was made at.
fn moment() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

#[test]
fn rclone_copies_with_times_and_checks() -> Result<()> {
    need_root!();
    let rclone = debian::peer("rclone")?.program("usr/bin/rclone")?;
    let folder = tempfile::tempdir()?;
    let site = Site::with_writer(|settings| certificate::configure(settings, folder.path()))?;
    let content = fill(&site, "folder")?;
    let obscured = run(&site, &rclone, &["obscure", PASSWORD])?;
    let obscured = obscured.transcript();
    for (family, tls) in [(Family::V4, false), (Family::V6, false), (Family::V4, true)] {
        let (host, port) = host_and_port(family);
        let host = match family {
            Family::V4 => host,
            Family::V6 => format!("[{host}]"),
        };
        let mut login = vec![
            "--config",
            "",
            "--retries",
            "1",
            "--ftp-host",
            &host,
            "--ftp-port",
            &port,
            "--ftp-user",
            USER,
            "--ftp-pass",
            obscured.trim(),
        ];
        if tls {
            login.extend(["--ftp-explicit-tls", "--ftp-no-check-certificate"]);
        }
        let local = tempfile::tempdir()?;
        let here = text(local.path())?;
        let rclone = |args: &[&str]| run(&site, &rclone, &[&login[..], args].concat());
        rclone(&["copy", ":ftp:folder", here])?;
        for (name, bytes) in &content {
            files::ensure_same(&local.path().join(name), bytes)?;
            File::open(local.path().join(name))?.set_modified(moment())?;
        }
        let back = format!("back-{family:?}-{tls}");
        let remote = format!(":ftp:{back}");
        rclone(&["copy", here, &remote])?;
        rclone(&["check", "--download", here, &remote])?;
        for (name, bytes) in &content {
            let stored = site.path(&back).join(name);
            files::ensure_same(&stored, bytes)?;
            ensure!(
                fs::metadata(&stored)?.modified()? == moment(),
                "{name}: the time was not kept (MFMT)"
            );
        }
        symlink("../folder", site.path(&back).join("link"))?;
        rclone(&["purge", &remote])?;
        ensure!(!site.path(&back).exists(), "{back} is still there");
        let left = fs::read_dir(site.path("folder"))?.count();
        ensure!(left == 5, "purged through a link: {left} left");
    }
    Ok(())
}

#[test]
fn lftp_transfers_deflated_with_and_without_tls() -> Result<()> {
    need_root!();
    let folder = tempfile::tempdir()?;
    let site = Site::with_writer(|settings| certificate::configure(settings, folder.path()))?;
    let content = b"the same line over and over again\n".repeat(30_000);
    fs::write(site.path("text"), &content)?;
    let (host, port) = host_and_port(Family::V4);
    for tls in [false, true] {
        let local = tempfile::tempdir()?;
        let fetched = local.path().join("text");
        let script = [
            "debug 5".to_owned(),
            "set cmd:fail-exit on; set net:max-retries 1; set net:timeout 20".to_owned(),
            format!("set ftp:ssl-allow {tls}; set ftp:ssl-force {tls}"),
            "set ftp:ssl-protect-data on; set ssl:verify-certificate off".to_owned(),
            "set ftp:use-mode-z on".to_owned(),
            format!("open -u {USER},{PASSWORD} -p {port} {host}"),
            format!("get text -o {}", fetched.display()),
            format!("put {} -o back-{tls}", fetched.display()),
            "cls -l".to_owned(),
        ];
        let args = ["--norc", "-c", &script.join("; ")];
        let said = run(&site, Path::new("lftp"), &args)?.transcript();
        for command in ["MODE Z", "RETR text", "STOR back"] {
            ensure!(said.contains(&format!("---> {command}")), "{said}");
        }
        ensure!(said.contains("---> PROT P") == tls, "{said}");
        files::ensure_same(&fetched, &content)?;
        files::ensure_same(&site.path(format!("back-{tls}")), &content)?;
    }
    Ok(())
}

#[test]
fn lftp_lists_a_tree_but_for_what_its_user_may_not_read() -> Result<()> {
    need_root!();
    let site = Site::with_account_in(Lab::new()?, &["--uid", "nobody"], Ok)?;
    fill(&site, "folder")?;
    fill(&site, "shut")?;
    fs::set_permissions(site.path("shut"), fs::Permissions::from_mode(0o700))?;
    let (host, port) = host_and_port(Family::V4);
    let script = [
        "set cmd:fail-exit on; set net:max-retries 1; set net:timeout 20".to_owned(),
        format!("set ftp:ssl-allow off; open -u {USER},{PASSWORD} -p {port} {host}"),
        "ls -R; echo; nlist -R folder".to_owned(),
    ];
    let args = ["--norc", "-c", &script.join("; ")];
    let said = run(&site, Path::new("lftp"), &args)?.transcript();
    let lines: Vec<_> = said.lines().map(str::trim_end).collect();
    for line in [".:", "./folder:", "./folder/deep:", "folder/deep:", "d.txt"] {
        ensure!(lines.contains(&line), "no {line} in:\n{said}");
    }
    ensure!(said.contains(" shut\n"), "it is not even shown:\n{said}");
    ensure!(!said.contains("shut:"), "{said}");
    Ok(())
}

#[test]
fn curl_says_site_and_hash() -> Result<()> {
    need_root!();
    let site = Site::with_writer(Ok)?;
    fs::write(site.path("a"), b"123456789")?;
    let url = format!("ftp://{}/", site::control_address(Family::V4));
    let login = format!("{USER}:{PASSWORD}");
    let mut args = vec!["-q", "-sS", "-v", "--max-time", "50", "--user", &login];
    for quote in [
        "SITE CHMOD 600 a",
        "SITE UTIME 20010909014640 a",
        "OPTS HASH CRC32",
        "HASH a",
        "AVBL",
    ] {
        args.extend(["--quote", quote]);
    }
    args.push(&url);
    let said = run(&site, Path::new("curl"), &args)?.transcript();
    ensure!(said.contains("< 213 CRC32 0-8 cbf43926 a"), "{said}");
    let found = fs::metadata(site.path("a"))?;
    ensure!(found.permissions().mode() & 0o777 == 0o600, "{found:?}");
    ensure!(found.modified()? == moment(), "{found:?}");
    Ok(())
}
