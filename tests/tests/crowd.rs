//! Many clients on few ports: 200 transfers at one time over 16 passive ports, from one address
//! (which then has 16 pinholes at a time) and from 200.

use std::{
    io::Read,
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, bail, ensure};
use ftp_tests::{
    control::Control,
    counters, files,
    lab::{Family, Options},
    need_root,
    site::Site,
};

const CLIENTS: u16 = 200;
/// More than fits into the buffers of a connection that nobody reads: every transfer is under way
/// until it is read.
const LEN: usize = 12_000_000;

/// Runs the crowd; `host` gives the client's number its address's number.
fn exercise(family: Family, host: impl Fn(u16) -> u16 + Sync) -> Result<()> {
    let site = Site::with(
        Options {
            clients: CLIENTS,
            ..Options::default()
        },
        |settings| settings.set("limits.sessions_per_address", 0),
    )?;
    let content = site.put("file", LEN)?;
    let hash = files::hash(&content);
    let before = counters::tcp_ext(&site.lab.client, "TCPSynRetrans")?;
    let (ready, under_way) = (Barrier::new(CLIENTS.into()), Barrier::new(CLIENTS.into()));
    let started = AtomicUsize::new(0);
    let (site, host) = (&site, &host);
    let one = |n: u16| -> Result<()> {
        let session = site.anonymous(family, host(n));
        // Whoever fails still comes to the barriers: the others would wait for ever.
        ready.wait();
        let begun = session.and_then(|mut session| {
            let (data, early) = begin(&mut session)?;
            Ok((session, data, early))
        });
        started.fetch_add(usize::from(begun.is_ok()), Ordering::Relaxed);
        under_way.wait();
        let (mut session, mut data, mut fetched) = begun?;
        ensure!(
            session.is_silent()?,
            "the transfer was over before all had begun: it proves nothing"
        );
        data.read_to_end(&mut fetched)?;
        session.expect_reply(226)?;
        ensure!(
            files::hash(&fetched) == hash,
            "{} bytes, another hash",
            fetched.len()
        );
        Ok(())
    };
    let failures: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..CLIENTS)
            .map(|n| {
                (
                    n,
                    scope.spawn({
                        let one = &one;
                        move || one(n)
                    }),
                )
            })
            .collect();
        threads
            .into_iter()
            .filter_map(|(n, thread)| match thread.join() {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(format!("client {n}: {error:#}")),
                Err(_) => Some(format!("client {n} panicked")),
            })
            .collect()
    });
    if let Some(first) = failures.first() {
        bail!("{} of {CLIENTS} failed; {first}", failures.len());
    }
    ensure!(started.into_inner() == usize::from(CLIENTS));
    let again = counters::tcp_ext(&site.lab.client, "TCPSynRetrans")? - before;
    ensure!(again == 0, "{again} SYNs were sent again");
    site.until_no_pinhole()
}

/// Starts a download, and reads its first bytes.
fn begin(session: &mut Control) -> Result<(std::net::TcpStream, Vec<u8>)> {
    let hole = session.passive()?;
    ensure!((30000..=30015).contains(&hole.port()));
    session.send(b"RETR file\r\n")?;
    let mut data = session.data(hole)?;
    session.expect_reply(150)?;
    let mut first = vec![0; 1000];
    data.read_exact(&mut first).context("no first bytes")?;
    Ok((data, first))
}

#[test]
fn behind_one_address() -> Result<()> {
    need_root!();
    exercise(Family::V4, |_| 0)
}

#[test]
fn behind_one_address_v6() -> Result<()> {
    need_root!();
    exercise(Family::V6, |_| 0)
}

#[test]
fn behind_as_many_addresses() -> Result<()> {
    need_root!();
    exercise(Family::V4, |n| n)
}

#[test]
fn behind_as_many_addresses_v6() -> Result<()> {
    need_root!();
    exercise(Family::V6, |n| n)
}
