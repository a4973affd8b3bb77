//! Thousands of sessions in a row through the guard, which leave nothing behind.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    crowd::{all, negotiate},
    guarded::{FIRST, Guarded, Scene},
    lab::{Family, Options},
    need_root,
    peer::Brand,
    site::{client_end, server_end},
    wait,
};

/// Sessions in a row through each server: `PINHOLE_SOAK`, or as many as a test may take time for.
fn soak_length() -> Result<usize> {
    match std::env::var("PINHOLE_SOAK") {
        Ok(text) => text.parse().context("PINHOLE_SOAK is no number"),
        Err(_) => Ok(320),
    }
}

fn soak(brand: Brand) -> Result<()> {
    const CLIENTS: u16 = 8;
    let sessions = soak_length()?;
    let guarded = Scene {
        network: Options {
            clients: CLIENTS,
            ..Options::default()
        },
        last: FIRST + 999,
        len: 1024,
        ..Scene::of(brand)
    }
    .start()?;
    let next = AtomicUsize::new(0);
    let ports = Mutex::new(BTreeSet::new());
    let started = std::time::Instant::now();
    all(CLIENTS, |n| {
        loop {
            let number = next.fetch_add(1, Relaxed);
            if number >= sessions {
                return Ok(());
            }
            let used =
                one_of_many(&guarded, n, number).with_context(|| format!("session {number}"))?;
            ports
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(used);
        }
    })?;
    let took = started.elapsed();
    guarded.until_no_pinhole()?;
    guarded.until_no_session()?;
    let ports = ports.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Nor does a port stay shut on which nobody listens any more.
    let wire = guarded.lab.client_wire()?;
    for port in &ports {
        wait::poll_within(wait::SOON, &format!("port {port} is nobody's"), || {
            let from = client_end(Family::V4, 0, wire.fresh_port());
            let answer = guarded.syn(&wire, from, server_end(Family::V4, *port))?;
            Ok(answer.is_reset().then_some(()))
        })?;
    }
    eprintln!(
        "{}: {sessions} sessions in {took:?} over {} ports",
        brand.name(),
        ports.len()
    );
    Ok(())
}

/// Most sessions download and leave; some leave with a pinhole open, and some without a word.
fn one_of_many(guarded: &Guarded<'_>, client: u16, number: usize) -> Result<Vec<u16>> {
    let mut session = guarded.session(Family::BOTH[number % 2], client)?;
    let hole = negotiate(&mut session)?;
    let mut ports = vec![hole.port()];
    match number % 16 {
        13 => session.reset()?,
        14 => ports.push(negotiate(&mut session)?.port()),
        15 => drop(session.data(hole)?),
        _ => {
            ensure!(session.fetch("RETR file", hole)? == guarded.content);
            session.expect("QUIT", 221)?;
        }
    }
    Ok(ports)
}

#[test]
fn a_row_of_sessions_leaves_vsftpd_an_empty_table() -> Result<()> {
    need_root!();
    soak(Brand::Vsftpd)
}

#[test]
fn a_row_of_sessions_leaves_pure_ftpd_an_empty_table() -> Result<()> {
    need_root!();
    soak(Brand::PureFtpd)
}

#[test]
fn a_row_of_sessions_leaves_proftpd_an_empty_table() -> Result<()> {
    need_root!();
    soak(Brand::ProFtpd)
}

#[test]
fn a_row_of_sessions_leaves_pyftpdlib_an_empty_table() -> Result<()> {
    need_root!();
    soak(Brand::Pyftpdlib)
}
