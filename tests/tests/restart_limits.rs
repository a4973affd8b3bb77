//! Limits of sessions, quotas and the memory of failed logins while two processes serve (SIGUSR2): a
//! restart gives nobody more sessions, more room or more guesses.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ftp_tests::{
    control::Control,
    files,
    lab::{self, Family, Lab},
    need_root,
    site::{PASSWORD, Site, USER, control_address},
    wait,
};

/// The server's answer to a password.
fn guess(session: &mut Control, password: &str) -> Result<u16> {
    session.expect(&format!("USER {USER}"), 331)?;
    Ok(session.command(&format!("PASS {password}"))?.code)
}

#[test]
fn a_restart_gives_neither_sessions_nor_guesses() -> Result<()> {
    need_root!();
    let site = Site::with_account_in(Lab::new()?, &["--sessions", "1"], |settings| {
        settings.set("limits.sessions_per_address", 2)
    })?;
    let open = |client| {
        let from = lab::client_address(Family::V4, client);
        Control::open(&site.lab.client, from, control_address(Family::V4))
    };
    // Keeps the old process.
    let mut stays = site.anonymous(Family::V6, 0)?;
    let mut old = site.writer(Family::V4)?;
    let mut guesser = open(1)?;
    for _ in 0..2 {
        ensure!(guess(&mut guesser, "wrong")? == 530);
    }
    site.daemon.restart()?;

    let mut second = open(0)?;
    ensure!(guess(&mut second, PASSWORD)? == 530, "the account has one");
    let third = open(0).map(drop).unwrap_err().to_string();
    ensure!(third.contains("from your address"), "{third}");

    // One in the old process, one in the new: the third and the fourth failure.
    ensure!(guess(&mut guesser, "wrong")? == 421, "on one connection");
    let begun = Instant::now();
    // What the old process tells the new one, it tells in order: once this is known there, so is that.
    old.expect("QUIT", 221)?;
    wait::poll_within(wait::SOON, "its place is free", || {
        Ok((guess(&mut second, PASSWORD)? == 230).then_some(()))
    })?;
    let mut again = open(1)?;
    ensure!(guess(&mut again, "wrong")? == 530);
    let waited = begun.elapsed();
    ensure!(waited > Duration::from_millis(1500), "{waited:?}, not 2 s");
    open(0)?;
    stays.expect("NOOP", 200).map(drop)
}

#[test]
fn a_quota_holds_for_the_sessions_of_both_processes() -> Result<()> {
    need_root!();
    let site = Site::with_account_in(Lab::new()?, &["--quota-bytes", "1000000"], Ok)?;
    let session = || site.writer(Family::V4);
    let mut old = session()?;
    old.store("STOR one", &files::noise(1, 600_000))?;
    // It logs in when another process has taken over.
    let mut late = Control::open(
        &site.lab.client,
        lab::client_address(Family::V4, 0),
        control_address(Family::V4),
    )?;
    site.daemon.restart()?;
    let mut new = session()?;
    let refused = |session: &mut Control, name: &str, len| {
        let hole = session.passive()?;
        session.send(format!("STOR {name}\r\n").as_bytes())?;
        let mut data = session.data(hole)?;
        session.expect_transfer()?;
        // The server may have seen enough before it has seen everything.
        let _ = std::io::Write::write_all(&mut data, &files::noise(2, len));
        drop(data);
        session.expect_reply(552)?;
        // Nothing is left of one whose first bytes are too many already.
        let gone = session.command(&format!("DELE {name}"))?;
        ensure!([250, 550].contains(&gone.code), "{}", session.transcript());
        Ok(())
    };
    refused(&mut new, "two", 500_000)?;
    new.store("STOR two", &files::noise(2, 300_000))?;
    refused(&mut old, "three", 200_000)?;
    old.expect("DELE two", 250)?;
    new.store("STOR two", &files::noise(2, 300_000))?;
    late.expect(&format!("USER {USER}"), 331)?;
    late.expect(&format!("PASS {PASSWORD}"), 230)?;
    late.expect("TYPE I", 200)?;
    refused(&mut late, "three", 200_000)?;
    late.store("STOR three", &files::noise(2, 100_000))?;
    let said = new.expect("SITE QUOTA", 200)?.text();
    ensure!(said.contains("1000000 of 1000000, 0 left"), "{said}");
    Ok(())
}
