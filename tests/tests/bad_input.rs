//! What no well-behaved client sends: each with its precise reply, and a session that goes on as if
//! nothing had been. Everything is tried over the wire; parsers have their own tests.

use std::fs;

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    control::Control,
    files,
    lab::{self, Family},
    need_root,
    site::{Site, control_address},
};

/// More than any path the kernel takes, with any verb before it.
const TOO_LONG: usize = 8192;

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
        session.ensure_codes(&[
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
        ])?;
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
        session.ensure_codes(&[
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
        ])?;
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
fn lines_that_are_none() -> Result<()> {
    need_root!();
    let site = Site::with_writer(Ok)?;
    let mut session = site.writer(Family::V4)?;
    let long = |verb: &str, len: usize| [verb.as_bytes(), &vec![b'x'; len]].concat();
    session.ensure_codes(&[
        (&long("", TOO_LONG), 500),
        (&long("RETR ", TOO_LONG), 500),
        (&long("MKD ", 1 << 20), 500),
        (b"NOOP a\0b", 501),
        (b"CWD a\0b", 550),
        (b"\0", 500),
        (b"CWD a\rb", 501),
        (b"CWD a\r", 501),
        (b"DELE missing\rDELE file", 501),
    ])?;
    // A name may hold a CR, padded with NUL (RFC 2640, section 3.1), and an LF only as a NUL: what comes
    // after one is the next command.
    session.send(b"MKD a\r\0b\r\n")?;
    session.expect_reply(257)?;
    ensure!(site.path("a\rb").is_dir());
    session.send(b"MKD c\nNOOP\r\n")?;
    session.expect_reply(257)?;
    session.expect_reply(200)?;
    ensure!(site.path("c").is_dir());
    // Telnet's commands are not the line's (RFC 959, section 4.1.3; RFC 854).
    session.send(b"\xff\xf4\xff\xf2NO\xff\xfc\x01OP\r\n")?;
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
