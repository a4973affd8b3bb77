//! Many sessions through the guard: a hundred at once, servers that restart under load, many clients
//! in one process, and thousands in a row that leave nothing behind.

use std::{
    collections::BTreeSet,
    io::Read,
    net::{SocketAddr, TcpStream},
    sync::{
        Barrier, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use anyhow::{Context, Result, bail, ensure};
use ftp_tests::{
    control::Control,
    counters,
    guarded::{FIRST, Guarded, Scene},
    lab::{Family, Options},
    need_root,
    peer::Brand,
    site::{client_end, server_end},
    wait,
};

const CROWD: u16 = 100;
/// More than fits into the buffers of a connection that nobody reads: every transfer is under way
/// until it is read.
const LONG: usize = 6_000_000;

/// Runs `work` on one thread for each number below `threads`; fails with the first failure.
fn all(threads: u16, work: impl Fn(u16) -> Result<()> + Sync) -> Result<()> {
    let failures: Vec<String> = thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..threads).map(|n| scope.spawn(move || work(n))).collect();
        threads
            .into_iter()
            .enumerate()
            .filter_map(|(n, thread)| match thread.join() {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(format!("number {n}: {error:#}")),
                Err(_) => Some(format!("number {n} panicked")),
            })
            .collect()
    });
    match failures.first() {
        None => Ok(()),
        Some(first) => bail!("{} of {threads} failed; {first}", failures.len()),
    }
}

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

/// A passive port. Pure-FTPd answers 425 when two of its processes hit on one port at a time.
fn negotiate(session: &mut Control) -> Result<SocketAddr> {
    for _ in 0..3 {
        let hole = session.passive();
        match &hole {
            Err(error) if error.to_string().contains("< 425 ") => {}
            Ok(_) | Err(_) => return hole,
        }
    }
    session.passive()
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
