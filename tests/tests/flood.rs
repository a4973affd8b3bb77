//! SYN floods, with SYN cookies for every handshake: the right client gets in all the same.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    counters, files,
    frame::Segment,
    lab::{self, Family, Lab},
    need_root,
    site::{Site, control_address, server_end},
    wire::Wire,
};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Frames of one flood.
const FLOOD: u16 = 5000;

fn site_with_cookies(attach: &str) -> Result<Site> {
    let lab = Lab::new()?;
    // 2: unconditionally, not only when a queue is full.
    lab.server.sysctl("net/ipv4/tcp_syncookies", "2")?;
    Site::in_lab(lab, |settings| settings.set("enforce.attach", attach))
}

/// Sends SYNs to `to` from ever other addresses and ports, none of which has a session.
fn flood(wire: &Wire, family: Family, to: SocketAddr) -> Result<()> {
    for n in 0..FLOOD {
        let from = SocketAddr::new(lab::phantom_address(family, n), 1024 + n);
        wire.send(&Segment::syn(from, to))?;
    }
    Ok(())
}

fn exercise(attach: &str) -> Result<()> {
    let site = site_with_cookies(attach)?;
    let wire = site.lab.client_wire()?;
    let content = site.put("file", 200_000)?;
    for family in Family::BOTH {
        let received = counters::tcp_ext(&site.lab.server, "SyncookiesRecv")?;
        let admitted = site.count("cookie-ack")?;
        // The control port takes the whole flood, the passive ports must let none of it in.
        flood(&wire, family, control_address(family))?;
        let mut session = site.anonymous(family, 0)?;
        let hole = session.passive()?;
        let before = site.count("wrong-client")?;
        flood(&wire, family, hole)?;
        let fetched = session.fetch("RETR file", hole)?;
        files::ensure_equal("the right client's download", &fetched, &content)?;
        let refused = site.count("wrong-client")? - before;
        ensure!(
            refused == u64::from(FLOOD),
            "{refused} of {FLOOD} SYNs were refused"
        );
        // Both handshakes were by cookie, and the data connection's went through the lock.
        let received = counters::tcp_ext(&site.lab.server, "SyncookiesRecv")? - received;
        ensure!(received >= 2, "{received} handshakes by cookie");
        let admitted = site.count("cookie-ack")? - admitted;
        ensure!(
            admitted >= 1,
            "the last step of the handshake was not seen as by cookie"
        );
    }
    Ok(())
}

/// Held by every test here: one test's flood would crowd another's frames out of the backlog that
/// all veth pairs of a CPU share (net.core.netdev_max_backlog).
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    // A test that failed has left nothing behind that would matter to the next.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn through_tcx() -> Result<()> {
    need_root!();
    let _alone = alone();
    exercise("tcx")
}

#[test]
fn through_native_xdp() -> Result<()> {
    need_root!();
    let _alone = alone();
    exercise("native")
}

#[test]
fn through_generic_xdp() -> Result<()> {
    need_root!();
    let _alone = alone();
    exercise("generic")
}

#[test]
fn transfers_go_on_during_a_flood() -> Result<()> {
    need_root!();
    let _alone = alone();
    let site = site_with_cookies("native")?;
    let content = site.put("file", 200_000)?;
    let wire = site.lab.client_wire()?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let flooding = scope.spawn(|| -> Result<u32> {
            let mut floods = 0;
            while !over.load(Ordering::Relaxed) {
                for port in 30000..=30015 {
                    flood(&wire, Family::V4, server_end(Family::V4, port))?;
                    floods += 1;
                }
            }
            Ok(floods)
        });
        let downloads = (|| -> Result<()> {
            let mut session = site.anonymous(Family::V4, 0)?;
            for _ in 0..50 {
                files::ensure_equal("download", &session.retrieve("file")?, &content)?;
            }
            Ok(())
        })();
        over.store(true, Ordering::Relaxed);
        let floods = flooding.join().ok().context("the flood panicked")??;
        ensure!(floods > 0, "there was no flood");
        downloads
    })
}

/// With cookies an ACK alone opens a connection, if its number is a cookie. Nobody without a
/// pinhole may try his luck.
#[test]
fn an_ack_without_a_syn_reaches_nobody() -> Result<()> {
    need_root!();
    let _alone = alone();
    use ftp_tests::{frame::Flags, site::client_end, wire::Answer};
    let site = site_with_cookies("tcx")?;
    let wire = site.lab.client_wire()?;
    for family in Family::BOTH {
        let mut session = site.anonymous(family, 0)?;
        let hole = session.passive()?;
        let failed = counters::tcp_ext(&site.lab.server, "SyncookiesFailed")?;
        for n in [0, 1] {
            let segment = Segment {
                flags: Flags::ACK,
                ack: 0x1234_5678,
                ..Segment::syn(client_end(family, n, wire.fresh_port()), hole)
            };
            let answer = site.probe(&wire, segment)?;
            ensure!(answer == Answer::Nothing, "{segment:?}: {answer:?}");
        }
        let failed = counters::tcp_ext(&site.lab.server, "SyncookiesFailed")? - failed;
        ensure!(failed == 0, "{failed} guesses got as far as the listener");
    }
    Ok(())
}

/// A local user who connects to the listener of the data connections would fill its queue.
#[test]
fn nobody_on_the_host_gets_to_the_internal_listener() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    let content = site.put("file", 200_000)?;
    let server = &site.lab.server;
    let listeners = counters::listeners(server)?;
    for family in Family::BOTH {
        let loopback = |listener: &&SocketAddr| {
            listener.ip().is_loopback() && Family::of(listener.ip()) == family
        };
        let internal = listeners.iter().find(loopback);
        let internal = *internal.context("no internal listener")?;
        let before = site.count("internal-listener")?;
        let came = server.run(|| TcpStream::connect(internal))?;
        let refused = came.err().map(|error| error.kind());
        ensure!(
            refused == Some(ErrorKind::ConnectionRefused),
            "{internal}: {refused:?}"
        );
        let counted = site.count("internal-listener")? - before;
        ensure!(counted == 1, "{counted} counted");
        let mut session = site.anonymous(family, 0)?;
        let hole = session.passive()?;
        let fetched = session.fetch("RETR file", hole)?;
        files::ensure_equal("the download", &fetched, &content)?;
    }
    // The port is anybody's on another address.
    let internal = listeners.iter().find(|listener| listener.ip() == LOOPBACK);
    let other = SocketAddr::from(([127, 0, 0, 2], internal.context("no listener")?.port()));
    server.run(|| -> Result<()> {
        let _listener = TcpListener::bind(other)?;
        TcpStream::connect(other).with_context(|| format!("{other}"))?;
        Ok(())
    })?
}
