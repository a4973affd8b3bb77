//! Many sessions through the guard: a hundred at once, servers that restart under load, many clients
//! in one process.

use std::{
    io::Read,
    net::TcpStream,
    sync::{
        Barrier, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    counters,
    crowd::{all, negotiate},
    guarded::{FIRST, Guarded, Scene},
    lab::{Family, Options},
    need_root,
    peer::Brand,
    wait,
};

const CROWD: u16 = 100;
/// More than fits into the buffers of a connection that nobody reads: every transfer is under way
/// until it is read.
const LONG: usize = 6_000_000;

/// Fails unless the rest of `data` is `expected`.
fn ensure_rest(mut data: TcpStream, expected: &[u8]) -> Result<()> {
    let mut piece = vec![0; 1 << 16];
    let mut at = 0;
    loop {
        let len = data.read(&mut piece)?;
        if len == 0 {
            ensure!(at == expected.len(), "{at} bytes of {}", expected.len());
            return Ok(());
        }
        let same = expected.get(at..at + len) == Some(&piece[..len]);
        ensure!(same, "something else from byte {at}");
        at += len;
    }
}

/// A hundred downloads under way at one time, half of them over IPv6, each from its own address.
fn crowd(brand: Brand) -> Result<()> {
    let guarded = Scene {
        network: Options {
            clients: CROWD,
            ..Options::default()
        },
        last: FIRST + 499,
        len: LONG,
        flags: &["--ports", "30000-30499"],
        ..Scene::of(brand)
    }
    .start()?;
    let family = |n: u16| Family::BOTH[usize::from(n % 2)];
    // Logging in takes turns: the servers' own queues for control connections are short.
    let mut sessions = Vec::new();
    for n in 0..CROWD {
        sessions.push(Mutex::new(Some(guarded.session(family(n), n)?)));
    }
    let retransmits = || counters::tcp_ext(&guarded.lab.client, "TCPSynRetrans");
    let before = retransmits()?;
    let (negotiated, under_way) = (
        Barrier::new(usize::from(CROWD)),
        Barrier::new(usize::from(CROWD)),
    );
    all(CROWD, |n| {
        let session = sessions[usize::from(n)].lock();
        let mut session = session.unwrap_or_else(PoisonError::into_inner);
        let mut session = session.take().context("no session")?;
        let hole = negotiate(&mut session);
        // Whoever fails still comes to the barriers: the others would wait for ever.
        negotiated.wait();
        let begun = hole.and_then(|hole| {
            session.send(b"RETR file\r\n")?;
            let data = session.data(hole)?;
            session.expect_transfer()?;
            Ok(data)
        });
        under_way.wait();
        let data = begun?;
        ensure!(
            session.is_silent()?,
            "the transfer was over before all had begun: it proves nothing"
        );
        ensure_rest(data, &guarded.content)?;
        session.expect_reply(226)?;
        Ok(())
    })?;
    let again = retransmits()? - before;
    ensure!(again == 0, "{again} SYNs were sent again");
    let admitted = guarded.count("pinhole-syn")?;
    ensure!(admitted == u64::from(CROWD), "{admitted} came by a pinhole");
    guarded.until_no_pinhole()
}

#[test]
fn a_hundred_sessions_of_vsftpd() -> Result<()> {
    need_root!();
    crowd(Brand::Vsftpd)
}

#[test]
fn a_hundred_sessions_of_pure_ftpd() -> Result<()> {
    need_root!();
    crowd(Brand::PureFtpd)
}

#[test]
fn a_hundred_sessions_of_proftpd() -> Result<()> {
    need_root!();
    crowd(Brand::ProFtpd)
}

#[test]
fn a_hundred_sessions_in_one_process() -> Result<()> {
    need_root!();
    crowd(Brand::Pyftpdlib)
}

/// Clients that go on as soon as the server is there again, through three restarts.
fn restarts(brand: Brand) -> Result<()> {
    const CLIENTS: u16 = 6;
    let guarded = Scene {
        network: Options {
            clients: CLIENTS + 1,
            ..Options::default()
        },
        ..Scene::of(brand)
    }
    .start()?;
    let done: Vec<AtomicUsize> = (0..CLIENTS).map(|_| AtomicUsize::new(0)).collect();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for n in 0..CLIENTS {
            let (guarded, done, over) = (&guarded, &done[usize::from(n)], &over);
            scope.spawn(move || {
                while !over.load(Relaxed) {
                    // A restart may interrupt it anywhere; whether it succeeds again is counted.
                    let _ = download_until(guarded, n, done, over);
                }
            });
        }
        let turn = || -> Result<()> {
            for _ in 0..3 {
                let before: Vec<_> = done.iter().map(|count| count.load(Relaxed)).collect();
                wait::until("every client has downloaded twice more", || {
                    let ahead =
                        |(count, before): (&AtomicUsize, &usize)| count.load(Relaxed) >= before + 2;
                    done.iter().zip(&before).all(ahead)
                })?;
                guarded.restart_server()?;
            }
            Ok(())
        };
        let turned: Result<()> = turn();
        over.store(true, Relaxed);
        turned
    })?;
    guarded.until_no_pinhole()?;
    let wire = guarded.lab.client_wire()?;
    let mut session = guarded.session(Family::V4, 0)?;
    let hole = session.passive()?;
    guarded.ensure_only(Family::V4, 0, hole)?;
    guarded.ensure_shut(&wire, CLIENTS, hole)?;
    ensure!(session.fetch("RETR file", hole)? == guarded.content);
    Ok(())
}

/// One session, one download after the other; an error when the server goes away.
fn download_until(
    guarded: &Guarded<'_>,
    n: u16,
    done: &AtomicUsize,
    over: &AtomicBool,
) -> Result<()> {
    let mut session = guarded.session(Family::BOTH[usize::from(n % 2)], n)?;
    while !over.load(Relaxed) {
        ensure!(session.retrieve("file")? == guarded.content);
        done.fetch_add(1, Relaxed);
    }
    Ok(())
}

#[test]
fn servers_that_restart_under_load() -> Result<()> {
    need_root!();
    for brand in Brand::COMMON {
        restarts(brand).context(brand.name())?;
    }
    Ok(())
}
