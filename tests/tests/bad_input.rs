//! What no well-behaved client sends: each with its precise reply, and a session that goes on as if
//! nothing had been. Everything is tried over the wire; parsers have their own tests.

use std::{
    fs,
    io::Write,
    os::unix::{ffi::OsStrExt, fs::symlink},
};

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    control::{self, Control},
    files,
    lab::{self, Family},
    need_root,
    site::{Site, control_address},
};

/// More than any path the kernel takes, with any verb before it.
const TOO_LONG: usize = 8192;

/// Sends each line and fails with all that were answered otherwise.
fn ensure_codes(session: &mut Control, table: &[(&[u8], u16)]) -> Result<()> {
    let mut wrong = Vec::new();
    for (line, code) in table {
        session.send(&[line, &b"\r\n"[..]].concat())?;
        let reply = session.reply()?;
        if reply.code != *code {
            let line: String = line.escape_ascii().take(80).map(char::from).collect();
            wrong.push(format!("{line}: {} instead of {code}", reply.text()));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    session.expect("NOOP", 200).map(drop)
}

fn open(site: &Site, family: Family) -> Result<Control> {
    let from = lab::client_address(family, 0);
    Control::open(&site.lab.client, from, control_address(family))
}

#[test]
fn before_the_login() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    for family in Family::BOTH {
        let mut session = open(&site, family)?;
        ensure_codes(
            &mut session,
            &[
                (b"", 500),
                (b" ", 500),
                (b"FROB", 500),
                (b"RETRX file", 500),
                (b"\xff\xff\xfe", 500),
                (b"PASS secret", 503),
                (b"USER", 501),
                (b"PASV", 530),
                (b"EPSV", 530),
                (b"PORT 10,77,0,2,200,0", 530),
                (b"EPRT |1|10.77.0.2|51200|", 530),
                (b"RETR file", 530),
                (b"STOR file", 530),
                (b"LIST", 530),
                (b"CWD /", 530),
                (b"PWD", 530),
                (b"SIZE file", 530),
                (b"REST 1", 530),
                (b"AUTH TLS", 502),
                (b"SMNT /", 502),
            ],
        )?;
        // Nobody has opened anything.
        ensure!(site.pinholes()?.is_empty());
    }
    Ok(())
}

#[test]
fn numbers_and_arguments() -> Result<()> {
    need_root!();
    let site = Site::with_writer(Ok)?;
    fs::write(site.path("file"), [7; 1000])?;
    for family in Family::BOTH {
        let mut session = site.writer(family)?;
        ensure_codes(
            &mut session,
            &[
                (b"REST -1", 501),
                (b"REST +1", 501),
                (b"REST 1.5", 501),
                (b"REST 0x10", 501),
                (b"REST one", 501),
                (b"REST", 501),
                // One more than a file offset holds, one more than 64 bits hold, far more.
                (b"REST 9223372036854775808", 501),
                (b"REST 18446744073709551616", 501),
                (b"REST 99999999999999999999999999999999999999", 501),
                (b"REST 9223372036854775807", 350),
                (b"REST 0", 350),
                (b"ALLO -5", 501),
                (b"ALLO 99999999999999999999", 501),
                (b"TYPE", 501),
                (b"TYPE Q", 501),
                (b"TYPE E", 504),
                (b"TYPE L 36", 504),
                (b"TYPE L 256", 501),
                (b"MODE B", 504),
                (b"MODE Q", 501),
                (b"STRU R", 504),
                (b"OPTS FROB", 501),
                (b"SITE FROB", 500),
                (b"RETR", 501),
                (b"RETR ", 501),
                (b"MKD", 501),
                (b"RNTO nowhere", 503),
                (b"RETR file", 425),
                (b"STOR new", 425),
                (b"LIST", 425),
                (b"RETR missing", 425),
                (b"SIZE missing", 550),
                (b"SIZE /", 550),
                (b"DELE missing", 550),
                (b"CWD file", 550),
                (b"RMD file", 550),
                (b"RNFR missing", 550),
            ],
        )?;
        ensure!(!site.path("new").exists(), "a refused STOR made a file");
    }
    Ok(())
}

#[test]
fn rest_beyond_the_end() -> Result<()> {
    need_root!();
    let site = Site::with_writer(Ok)?;
    let content = site.put("file", 1000)?;
    for family in Family::BOTH {
        let mut session = site.writer(family)?;
        for beyond in [1001, 1 << 40, u64::MAX >> 1] {
            for command in ["RETR file", "STOR file"] {
                session.passive()?;
                session.expect(&format!("REST {beyond}"), 350)?;
                session.expect(command, 554)?;
                files::ensure_same(&site.path("file"), &content)?;
            }
        }
        // Up to the very end is fine: there is nothing left to send.
        session.expect("REST 1000", 350)?;
        ensure!(session.retrieve("file")?.is_empty());
        // And a refused restart is forgotten: the next transfer is whole.
        session.passive()?;
        session.expect("REST 5000", 350)?;
        session.expect("RETR file", 554)?;
        files::ensure_equal("after a refused REST", &session.retrieve("file")?, &content)?;
    }
    Ok(())
}

#[test]
fn active_addresses() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    site.put("file", 10)?;
    let mut v4 = site.anonymous(Family::V4, 0)?;
    ensure_codes(
        &mut v4,
        &[
            (b"PORT", 501),
            (b"PORT 10,77,0,2,200", 501),
            (b"PORT 10,77,0,2,200,0,0", 501),
            (b"PORT 256,77,0,2,200,0", 501),
            (b"PORT 10,77,0,256,200,0", 501),
            (b"PORT 10,77,0,2,256,0", 501),
            (b"PORT 10,77,0,2,200,256", 501),
            (b"PORT 10,77,0,2,-1,0", 501),
            (b"PORT 10,77,0,2,+1,0", 501),
            (b"PORT 10,77,0,2,99999999999999999999,0", 501),
            (b"PORT 10.77.0.2.200.0", 501),
            (b"PORT fd77::2,200,0", 501),
            // Somebody else: another host, the server itself, loopback, everybody. RFC 2577.
            (b"PORT 10,77,0,3,200,0", 504),
            (b"PORT 10,77,0,1,200,0", 504),
            (b"PORT 127,0,0,1,200,0", 504),
            (b"PORT 0,0,0,0,200,0", 504),
            (b"PORT 255,255,255,255,200,0", 504),
            // Somebody else's service.
            (b"PORT 10,77,0,2,0,25", 504),
            (b"PORT 10,77,0,2,3,255", 504),
            (b"PORT 10,77,0,2,0,0", 504),
            (b"PORT 10,77,0,2,4,0", 200),
            (b"EPRT |1|10.77.0.2|51200|", 200),
            (b"EPRT |1|::ffff:10.77.0.2|51200|", 501),
            (b"EPRT |2|fd77::2|51200|", 522),
            (b"EPRT |2|10.77.0.2|51200|", 501),
            (b"EPRT |3|10.77.0.2|51200|", 522),
            (b"EPRT |1|10.77.0.3|51200|", 504),
            (b"EPRT |1|10.77.0.2|1023|", 504),
            (b"EPRT |1|10.77.0.2|65536|", 501),
            (b"EPRT |1|10.77.0.256|51200|", 501),
            (b"EPRT |1|10.77.0.2|51200", 501),
            (b"EPRT 10.77.0.2", 501),
            (b"EPRT ||||", 501),
            (b"EPRT |", 501),
            (b"EPRT", 501),
            (b"EPSV 2", 522),
            (b"EPSV 3", 522),
            (b"EPSV x", 501),
            (b"PASV x", 501),
        ],
    )?;
    let mut v6 = site.anonymous(Family::V6, 0)?;
    ensure_codes(
        &mut v6,
        &[
            (b"PORT 10,77,0,2,200,0", 522),
            (b"PASV", 425),
            (b"EPRT |1|10.77.0.2|51200|", 522),
            (b"EPRT |2|fd77::3|51200|", 504),
            (b"EPRT |2|::1|51200|", 504),
            (b"EPRT |2|::ffff:10.77.0.2|51200|", 522),
            (b"EPRT |2|fd77::2|80|", 504),
            (b"EPRT |2|fd77::2%c0|51200|", 501),
            (b"EPRT |2|fd77::2|51200|", 200),
            (b"EPSV 1", 522),
            (b"EPSV 2", 229),
            (b"ABOR", 226),
        ],
    )?;
    // RFC 2428, section 4: after EPSV ALL no other way.
    ensure_codes(
        &mut v4,
        &[
            (b"EPSV ALL", 200),
            (b"PASV", 503),
            (b"PORT 10,77,0,2,200,0", 503),
            (b"EPRT |1|10.77.0.2|51200|", 503),
            (b"EPSV", 229),
            (b"ABOR", 226),
        ],
    )
}

/// A refused address is not connected to, and an earlier one that was good still counts.
#[test]
fn a_refused_port_connects_nobody() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    let content = site.put("file", 1000)?;
    let other = lab::client_address(Family::V4, 1);
    let victim = std::net::SocketAddr::new(other, 0);
    let victim = site
        .lab
        .client
        .run(|| std::net::TcpListener::bind(victim))??;
    victim.set_nonblocking(true)?;
    let mut session = site.anonymous(Family::V4, 0)?;
    let std::net::SocketAddr::V4(address) = victim.local_addr()? else {
        anyhow::bail!("an IPv4 listener has an IPv6 address");
    };
    let port = control::port_argument(*address.ip(), address.port());
    session.expect(&format!("PORT {port}"), 504)?;
    session.expect("RETR file", 425)?;
    let own = session.listen()?;
    session.port_to(&own)?;
    session.expect(&format!("PORT {port}"), 504)?;
    session.send(b"RETR file\r\n")?;
    let (mut data, _) = own.accept()?;
    let mut fetched = Vec::new();
    std::io::Read::read_to_end(&mut data, &mut fetched)?;
    files::ensure_equal("by the earlier PORT", &fetched, &content)?;
    let connected = victim.accept();
    ensure!(
        connected.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock),
        "somebody else was connected to"
    );
    Ok(())
}

#[test]
fn lines_that_are_none() -> Result<()> {
    need_root!();
    let site = Site::with_writer(Ok)?;
    let mut session = site.writer(Family::V4)?;
    let long = |verb: &str, len: usize| [verb.as_bytes(), &vec![b'x'; len]].concat();
    ensure_codes(
        &mut session,
        &[
            (&long("", TOO_LONG), 500),
            (&long("RETR ", TOO_LONG), 500),
            (&long("MKD ", 1 << 20), 500),
            (b"CWD a\0b", 501),
            (b"\0", 501),
            (b"CWD a\rb", 501),
            (b"CWD a\r", 501),
            (b"DELE missing\rDELE file", 501),
        ],
    )?;
    // A name may hold a CR, padded with NUL (RFC 2640, section 3.1), and never an LF: what comes
    // after one is the next command.
    session.send(b"MKD a\r\0b\r\n")?;
    session.expect_reply(257)?;
    ensure!(site.path("a\rb").is_dir());
    session.send(b"MKD c\nNOOP\r\n")?;
    session.expect_reply(257)?;
    session.expect_reply(200)?;
    ensure!(site.path("c").is_dir());
    // Telnet's commands are not the line's (RFC 959, section 4.1.3; RFC 854).
    session.send(b"\xff\xf4\xff\xf2NO\xff\xfb\x01OP\r\n")?;
    session.expect_reply(200)?;
    Ok(())
}

/// A line of 64 MiB takes the server no memory.
#[test]
fn an_endless_line_does_not_grow() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    let mut session = site.anonymous(Family::V4, 0)?;
    let resident = || -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", site.daemon.pid()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(kib.context("no VmRSS")?.parse()?)
    };
    let before = resident()?;
    let part = vec![b'x'; 1 << 20];
    for _ in 0..64 {
        session.send(&part)?;
    }
    let grown = resident()?.saturating_sub(before);
    session.send(b"\r\n")?;
    session.expect_reply(500)?;
    session.expect("NOOP", 200)?;
    ensure!(grown < 8 << 10, "the server grew by {grown} KiB");
    Ok(())
}

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
            for verb in [
                "RETR", "STOR", "APPE", "SIZE", "MDTM", "CWD", "RNFR", "LIST", "MLSD",
            ] {
                session.passive()?;
                session.expect(&format!("{verb} {path}"), 550)?;
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

#[test]
fn wrong_passwords_end_the_connection() -> Result<()> {
    need_root!();
    let site = Site::with_writer(Ok)?;
    let mut session = open(&site, Family::V4)?;
    for (user, code) in [("writer", 530), ("nobody-here", 530), ("root", 421)] {
        session.expect(&format!("USER {user}"), 331)?;
        session.expect("PASS wrong", code)?;
    }
    ensure!(session.until_closed()?.is_empty());
    Ok(())
}
