//! Names that are no text, and paths that would lead out of the served folder: neither does harm.

use std::{
    fs,
    io::Write,
    os::unix::{ffi::OsStrExt, fs::symlink},
};

use anyhow::{Result, ensure};
use ftp_tests::{
    files,
    lab::Family,
    need_root, process,
    site::{self, PASSWORD, Site, USER},
    wait,
};

#[test]
fn names_are_bytes() -> Result<()> {
    need_root!();
    let site = Site::with_writer(Ok)?;
    let mut session = site.writer(Family::V6)?;
    // Invalid UTF-8, Latin-1, a lone continuation byte, controls, quotes, blanks at both ends, a
    // leading dash, and 255 bytes of it.
    let names: [&[u8]; 9] = [
        b"\xc3\x28",
        b"gr\xfc\xdfe",
        b"\x80",
        b"tab\tand\x1bescape",
        b"say \"hi\"",
        b" both ends ",
        b"-la",
        b"...",
        &[b'n'; 255],
    ];
    let on_disk = |name: &[u8]| site.path(std::ffi::OsStr::from_bytes(name));
    for name in names {
        let content = files::noise(name.len() as u64, 1000);
        let hole = session.passive()?;
        session.send(&[b"STOR ", name, b"\r\n"].concat())?;
        let mut data = session.data(hole)?;
        session.expect_reply(150)?;
        data.write_all(&content)?;
        drop(data);
        session.expect_reply(226)?;
        files::ensure_same(&on_disk(name), &content)?;

        let hole = session.passive()?;
        let fetched = session.fetch_bytes(&[b"RETR ", name, b"\r\n"].concat(), hole)?;
        files::ensure_equal("byte for byte", &fetched, &content)?;
    }
    // 0xff is doubled on the control connection (RFC 854), and single in a listing.
    session.send(b"MKD \xff\xff\xfe\r\n")?;
    let made = session.expect_reply(257)?;
    ensure!(
        made.lines[0].starts_with(b"257 \"/\xff\xff\xfe\""),
        "{}",
        made.text()
    );
    ensure!(on_disk(b"\xff\xfe").is_dir());
    let listing = session.listing("NLST -a")?;
    let mut listed: Vec<&[u8]> = listing
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.strip_suffix(b"\r"))
        .collect();
    let mut expected: Vec<&[u8]> = names.into_iter().chain([&b"\xff\xfe"[..]]).collect();
    listed.sort_unstable();
    expected.sort_unstable();
    ensure!(listed == expected, "{}", String::from_utf8_lossy(&listing));
    // One byte more than a name may have.
    session.passive()?;
    session.expect(&format!("STOR {}", "n".repeat(256)), 553)?;
    Ok(())
}

#[test]
fn nothing_leads_out_of_the_root() -> Result<()> {
    need_root!();
    let site = Site::with_writer(Ok)?;
    let outside = tempfile::tempdir()?;
    fs::write(outside.path().join("secret"), "secret")?;
    fs::create_dir(site.path("inside"))?;
    fs::write(site.path("inside/file"), "inside")?;
    let links = [
        ("absolute", outside.path().join("secret")),
        ("folder", outside.path().to_owned()),
        ("root", "/".into()),
        ("up", "../../../../../../../../etc/passwd".into()),
        ("dotdot", "..".into()),
        ("proc", "/proc/self/root".into()),
        ("chain", "absolute".into()),
        ("itself", "itself".into()),
    ];
    for (name, target) in &links {
        symlink(target, site.path(name))?;
    }
    symlink("inside/file", site.path("good"))?;
    let secret = format!("..{}/secret", outside.path().display());

    for family in Family::BOTH {
        let mut session = site.writer(family)?;
        for path in [
            "absolute",
            "folder/secret",
            "root/etc/passwd",
            "up",
            "dotdot/secret",
            "proc/etc/passwd",
            "chain",
            "itself",
            "../../../../../../../etc/passwd",
            "/../../../../etc/passwd",
            "inside/../../etc/passwd",
            &secret,
        ] {
            for verb in ["RETR", "STOR", "APPE", "SIZE", "MDTM", "CWD", "MLSD"] {
                session.passive()?;
                session.expect(&format!("{verb} {path}"), 550)?;
            }
            // A link itself lies inside, and can be seen and given another name.
            let itself = links.iter().any(|(name, _)| *name == path);
            for verb in ["RNFR", "MLST", "STAT"] {
                let code = match (itself, verb) {
                    (false, _) => 550,
                    (true, "RNFR") => 350,
                    (true, "STAT") => 213,
                    (true, _) => 250,
                };
                session.expect(&format!("{verb} {path}"), code)?;
            }
        }
        // `..` above the root is the root, as in any chroot.
        for path in ["..", "/..", "../..", "inside/../.."] {
            session.expect(&format!("CWD {path}"), 250)?;
            let pwd = session.expect("PWD", 257)?;
            ensure!(pwd.text().starts_with("257 \"/\""), "{}", pwd.text());
        }
        session.expect("CWD inside", 250)?;
        session.expect("CDUP", 250)?;
        session.expect("CDUP", 250)?;
        // A link that stays inside is served.
        ensure!(session.retrieve("good")? == b"inside");
    }
    // A link itself lies inside, and goes without what it leads to.
    let mut session = site.writer(Family::V4)?;
    session.expect("RMD folder", 550)?;
    session.expect("DELE absolute", 250)?;
    session.expect("DELE folder", 250)?;
    ensure!(!site.path("absolute").is_symlink() && !site.path("folder").is_symlink());
    ensure!(fs::read(outside.path().join("secret"))? == b"secret");
    ensure!(fs::read_dir(outside.path())?.count() == 1);
    Ok(())
}

/// lftp removes and mirrors by the types that listings say.
#[test]
fn emptying_a_folder_leaves_what_its_links_lead_to() -> Result<()> {
    need_root!();
    let site = Site::with_writer(Ok)?;
    let nothing = tempfile::tempdir()?;
    let precious = site.path("precious");
    fs::create_dir(&precious)?;
    fs::write(precious.join("file"), "precious")?;
    for mlsd in [false, true] {
        for work in [
            "rm -r folder".to_owned(),
            format!("mirror -R --delete {} folder", nothing.path().display()),
        ] {
            let folder = site.path("folder");
            fs::create_dir(&folder)?;
            fs::write(folder.join("file"), "file")?;
            symlink("../precious", folder.join("data"))?;
            symlink("nowhere", folder.join("dangling"))?;
            let script = format!(
                "debug 5; set cmd:fail-exit on; set net:max-retries 1; set net:timeout 20; \
                 set ftp:ssl-allow off; set ftp:use-mlsd {mlsd}; \
                 open -u {USER},{PASSWORD} ftp://{}; {work}",
                site::control_address(Family::V4)
            );
            let mut lftp = site.lab.client.command("lftp");
            lftp.args(["--norc", "-c", &script]);
            let said = process::run(lftp, b"", wait::SOON)?
                .successful()?
                .transcript();
            ensure!(
                said.contains("---> DELE") && said.contains("MLSD") == mlsd,
                "{said}"
            );
            files::ensure_same(&precious.join("file"), b"precious")?;
            let left = fs::read_dir(&folder).map_or(0, Iterator::count);
            ensure!(left == 0, "{left} left: {said}");
            let _ = fs::remove_dir(&folder);
        }
    }
    Ok(())
}

#[test]
fn anonymous_sessions_change_nothing() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    let content = site.put("file", 1000)?;
    fs::create_dir(site.path("folder"))?;
    for family in Family::BOTH {
        let mut session = site.anonymous(family, 0)?;
        for line in [
            "STOR new",
            "STOR file",
            "APPE file",
            "STOU",
            "DELE file",
            "MKD new",
            "RMD folder",
            "RNFR file",
        ] {
            session.passive()?;
            session.expect(line, 550)?;
        }
        files::ensure_equal("file", &session.retrieve("file")?, &content)?;
    }
    ensure!(fs::read_dir(site.root.path())?.count() == 2);
    Ok(())
}
