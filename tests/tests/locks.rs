//! The locks: who does not get through, and when nobody does any more. Every silence is proven by
//! an answer that came after it.

use std::{
    net::{IpAddr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    control::{self, Control},
    counters, files,
    frame::{Flags, Segment},
    lab::{self, Family, Lab, Options},
    need_root,
    settings::CONTROL_PORT,
    site::{self, Site, client_end, server_end},
    wait,
    wire::{Answer, Wire},
};
use rustix::time::{ClockId, clock_gettime};

/// In the range of the default settings; no scenario has a pinhole there by chance, because the
/// scenarios that use it have none.
const CLOSED: u16 = 30007;

/// Every combination of the six flags of RFC 793.
fn every_flag() -> impl Iterator<Item = Flags> {
    (0..64).map(Flags)
}

fn ensure_silent(site: &Site, wire: &Wire, from: IpAddr, to: SocketAddr) -> Result<()> {
    let from = SocketAddr::new(from, wire.fresh_port());
    let answer = site.syn(wire, from, to)?;
    ensure!(
        answer == Answer::Nothing,
        "a SYN from {from} to {to}: {answer:?}"
    );
    Ok(())
}

#[test]
fn an_address_without_a_session_cannot_use_an_open_pinhole() -> Result<()> {
    need_root!();
    let site = Site::with(
        Options {
            third: true,
            ..Options::default()
        },
        Ok,
    )?;
    let wire = site.lab.client_wire()?;
    let third = site.lab.third.as_ref().context("a third host")?;
    let content = site.put("file", 100_000)?;
    for family in Family::BOTH {
        let mut session = site.anonymous(family, 0)?;
        let hole = session.passive()?;
        let phantom = lab::phantom_address(family, 1);
        site.lab.add_phantom(phantom)?;
        let before = site.count("wrong-client")?;
        for stranger in [lab::client_address(family, 1), phantom] {
            for flags in every_flag() {
                let segment = Segment {
                    flags,
                    ..Segment::syn(SocketAddr::new(stranger, wire.fresh_port()), hole)
                };
                let answer = site.probe(&wire, segment)?;
                ensure!(answer == Answer::Nothing, "{segment:?}: {answer:?}");
            }
        }
        // SYN with any of PSH and URG: four of the combinations, from two strangers.
        let refused = site.count("wrong-client")? - before;
        ensure!(refused == 8, "{refused} SYNs were refused for their client");

        if family == Family::V4 {
            let from = SocketAddr::new(lab::THIRD4.into(), 0);
            let limit = Duration::from_millis(1500);
            let connected = control::connect_from(third, from, hole, limit);
            ensure!(connected.is_err(), "another host's connection was let in");
        }
        // All that has not cost the client its pinhole.
        let fetched = session.fetch("RETR file", hole)?;
        files::ensure_equal("the client's own download", &fetched, &content)?;
    }
    Ok(())
}

#[test]
fn a_pinhole_is_for_the_address_that_the_client_was_told() -> Result<()> {
    need_root!();
    let site = Site::with(
        Options {
            third: true,
            ..Options::default()
        },
        Ok,
    )?;
    let wire = site.lab.client_wire()?;
    for (family, other) in [(Family::V4, "10.78.0.1"), (Family::V6, "fd78::1")] {
        let mut session = site.anonymous(family, 0)?;
        let hole = session.passive()?;
        let other = SocketAddr::new(other.parse()?, hole.port());
        // The server owns that address and answers on it: only not there.
        let control = SocketAddr::new(other.ip(), CONTROL_PORT);
        let from = || client_end(family, 0, wire.fresh_port());
        ensure!(wire.probe(Segment::syn(from(), control), control)? == Answer::SYN_ACK);
        ensure!(wire.probe(Segment::syn(from(), other), control)? == Answer::Nothing);
        ensure!(site.syn(&wire, from(), hole)? == Answer::SYN_ACK);
    }
    Ok(())
}

#[test]
fn a_closed_port_answers_nothing() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    let wire = site.lab.client_wire()?;
    for family in Family::BOTH {
        // A session of the very client changes nothing about other ports.
        let mut session = site.anonymous(family, 0)?;
        let hole = session.passive()?;
        let closed = (30000..=30015).find(|port| *port != hole.port());
        let closed = server_end(family, closed.context("sixteen ports")?);
        let outside = server_end(family, 30016);
        for flags in every_flag() {
            let segment = |to| Segment {
                flags,
                ..Segment::syn(client_end(family, 0, wire.fresh_port()), to)
            };
            let answer = site.probe(&wire, segment(closed))?;
            ensure!(
                answer == Answer::Nothing,
                "{flags:?} to {closed}: {answer:?}"
            );
            // Next to the range the kernel answers as ever, RFC 9293 section 3.10.7.1: so the
            // probe could have heard something.
            let answer = site.probe(&wire, segment(outside))?;
            let answered = !flags.has(Flags::RST);
            ensure!(
                answer.is_reset() == answered,
                "{flags:?} to {outside}: {answer:?}"
            );
            // The open one: only a SYN may get an answer. (A SYN would take it.)
            if !flags.has(Flags::SYN) {
                let answer = site.probe(&wire, segment(hole))?;
                ensure!(answer == Answer::Nothing, "{flags:?} to {hole}: {answer:?}");
            }
        }
        drop(session);
    }
    Ok(())
}

#[test]
fn a_second_connection_to_a_claimed_pinhole_is_dropped() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    let wire = site.lab.client_wire()?;
    site::mute_resets(&site.lab)?;
    let content = site.put("file", 100_000)?;
    for family in Family::BOTH {
        let mut session = site.anonymous(family, 0)?;
        let hole = session.passive()?;
        let first = client_end(family, 0, wire.fresh_port());
        let before = site.count("claimed")?;
        ensure!(site.syn(&wire, first, hole)? == Answer::SYN_ACK);
        for _ in 0..5 {
            ensure_silent(&site, &wire, first.ip(), hole)?;
        }
        ensure!(site.count("claimed")? - before == 5);
        let rows = site.pinholes()?;
        ensure!(
            rows.iter()
                .any(|row| row.port == hole.port() && row.claimed_by == Some(first.port())),
            "{rows:?}"
        );
        // The first handshake never ends. Some seconds later the pinhole is the client's again:
        // its kernel repeats the SYN meanwhile.
        let started = Instant::now();
        let fetched = session.fetch("RETR file", hole)?;
        files::ensure_equal("the download after all", &fetched, &content)?;
        let waited = started.elapsed();
        ensure!(
            waited > Duration::from_secs(1),
            "let in after {waited:?} already"
        );
    }
    Ok(())
}

#[test]
fn a_second_connection_beside_an_accepted_one_is_dropped() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    let wire = site.lab.client_wire()?;
    let content = site.put("file", 20_000_000)?;
    for family in Family::BOTH {
        let mut session = site.anonymous(family, 0)?;
        let hole = session.passive()?;
        session.send(b"RETR file\r\n")?;
        let mut data = session.data(hole)?;
        session.expect_reply(150)?;
        site.until_no_pinhole()?;
        ensure_silent(&site, &wire, session.host(), hole)?;
        // Nor does the intruder's attempt disturb the transfer.
        let mut fetched = Vec::new();
        std::io::Read::read_to_end(&mut data, &mut fetched)?;
        session.expect_reply(226)?;
        files::ensure_equal("the download", &fetched, &content)?;
    }
    Ok(())
}

/// Ends a pinhole by `end`, and sees that it is gone from the table and from the wire.
fn ensure_ends(
    site: &Site,
    wire: &Wire,
    family: Family,
    what: &str,
    end: impl FnOnce(Control, SocketAddr) -> Result<Option<Control>>,
) -> Result<()> {
    let mut session = site.anonymous(family, 0)?;
    let (hole, host) = (session.passive()?, session.host());
    let rows = site.pinholes()?;
    ensure!(
        rows.len() == 1 && rows[0].port == hole.port() && rows[0].client == host,
        "{what}: {rows:?} instead of one for {host} at {hole}"
    );
    let session = end(session, hole).with_context(|| what.to_owned())?;
    site.until_no_pinhole().with_context(|| what.to_owned())?;
    ensure_silent(site, wire, host, hole).with_context(|| what.to_owned())?;
    drop(session);
    Ok(())
}

#[test]
fn a_pinhole_is_gone_when_it_has_served_or_its_session_says_so() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    let wire = site.lab.client_wire()?;
    site.put("file", 1000)?;
    for family in Family::BOTH {
        ensure_ends(&site, &wire, family, "after accept", |mut session, hole| {
            session.fetch("RETR file", hole)?;
            Ok(Some(session))
        })?;
        ensure_ends(&site, &wire, family, "after QUIT", |mut session, _| {
            session.expect("QUIT", 221)?;
            Ok(Some(session))
        })?;
        ensure_ends(&site, &wire, family, "after ABOR", |mut session, _| {
            session.expect("ABOR", 226)?;
            Ok(Some(session))
        })?;
        ensure_ends(&site, &wire, family, "after REIN", |mut session, _| {
            session.expect("REIN", 220)?;
            Ok(Some(session))
        })?;
        ensure_ends(&site, &wire, family, "after EPRT", |mut session, _| {
            let own = SocketAddr::new(session.host(), 50000);
            let line = format!("EPRT {}", control::eprt_argument(own));
            session.expect(&line, 200)?;
            Ok(Some(session))
        })?;
        ensure_ends(&site, &wire, family, "client closed", |session, _| {
            drop(session);
            Ok(None)
        })?;
        ensure_ends(&site, &wire, family, "client reset", |session, _| {
            session.reset()?;
            Ok(None)
        })?;
        ensure_ends(
            &site,
            &wire,
            family,
            "refused transfer",
            |mut session, _| {
                // A transfer that fails early has used up nothing yet: ABOR has to.
                session.expect("RETR missing", 550)?;
                session.expect("ABOR", 226)?;
                Ok(Some(session))
            },
        )?;
    }
    Ok(())
}

#[test]
fn a_new_pinhole_replaces_the_sessions_old_one() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    let wire = site.lab.client_wire()?;
    for family in Family::BOTH {
        let mut session = site.anonymous(family, 0)?;
        let mut holes = vec![session.passive()?];
        for _ in 0..50 {
            holes.push(session.passive()?);
            let rows = site.pinholes()?;
            ensure!(rows.len() == 1, "{rows:?}");
        }
        let last = holes.pop().context("a pinhole")?;
        for hole in holes.into_iter().filter(|hole| *hole != last) {
            ensure_silent(&site, &wire, session.host(), hole)?;
        }
        let from = client_end(family, 0, wire.fresh_port());
        ensure!(site.syn(&wire, from, last)? == Answer::SYN_ACK);
    }
    Ok(())
}

#[test]
fn a_pinhole_is_gone_at_its_deadline() -> Result<()> {
    need_root!();
    let site = Site::with(Options::default(), |settings| {
        settings.set("passive.connect_timeout", "1s")
    })?;
    let wire = site.lab.client_wire()?;
    for family in Family::BOTH {
        let mut session = site.anonymous(family, 0)?;
        let started = Instant::now();
        let hole = session.passive()?;
        site.put("file", 10)?;
        // Nobody connects.
        session.expect("RETR file", 425)?;
        let waited = started.elapsed();
        ensure!(
            waited >= Duration::from_secs(1),
            "425 after {waited:?} already"
        );
        site.until_no_pinhole()?;
        ensure_silent(&site, &wire, session.host(), hole)?;

        // Nor does anybody ask for a transfer. A SYN would take the pinhole if it came in time.
        let hole = session.passive()?;
        wait::poll_within(wait::SOON, "the deadline passes", || {
            let rows = site.pinholes()?;
            Ok(rows.iter().all(|row| row.remaining.is_zero()).then_some(()))
        })?;
        // The locks go by a clock that is some milliseconds behind.
        let passed = clock_gettime(ClockId::Monotonic);
        wait::until("it has passed by the coarse clock", || {
            let now = clock_gettime(ClockId::MonotonicCoarse);
            (now.tv_sec, now.tv_nsec) > (passed.tv_sec, passed.tv_nsec)
        })?;
        ensure_silent(&site, &wire, session.host(), hole)?;
    }
    Ok(())
}

#[test]
fn a_pinhole_is_gone_with_the_daemon() -> Result<()> {
    need_root!();
    for kill in [true, false] {
        let site = Site::new()?;
        let wire = site.lab.client_wire()?;
        let mut sessions = Vec::new();
        for family in Family::BOTH {
            let mut session = site.anonymous(family, 0)?;
            let hole = session.passive()?;
            sessions.push((session, hole));
        }
        let Site { daemon, lab, .. } = site;
        if kill {
            daemon.kill9()?;
        } else {
            daemon.stop()?;
        }
        for (_session, hole) in &sessions {
            let family = Family::of(hole.ip());
            wait::until("the kernel has nothing there any more", || {
                let from = client_end(family, 0, wire.fresh_port());
                wire.probe(Segment::syn(from, *hole), site::control_address(family))
                    .is_ok_and(Answer::is_reset)
            })?;
        }
        ensure!(counters::listeners(&lab.server)?.is_empty());
    }
    Ok(())
}

#[test]
fn no_passive_listener_shows() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    let mut sessions = Vec::new();
    for family in Family::BOTH {
        for _ in 0..8 {
            let mut session = site.anonymous(family, 0)?;
            session.passive()?;
            sessions.push(session);
        }
    }
    ensure!(site.pinholes()?.len() == 16);
    let listening = counters::listeners(&site.lab.server)?;
    let (control, others): (Vec<_>, Vec<_>) = listening
        .into_iter()
        .partition(|address| address.port() == CONTROL_PORT);
    ensure!(
        !control.is_empty(),
        "nobody listens for control connections"
    );
    for address in others {
        ensure!(
            address.ip().is_loopback() && !(30000..=30015).contains(&address.port()),
            "{address} listens"
        );
    }
    Ok(())
}

/// "Commit before you speak": a client that connects the moment it reads the port is let in at
/// once, every time, and no SYN of its is sent again.
#[test]
fn the_first_syn_finds_the_pinhole() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    let content = site.put("file", 5000)?;
    let before = counters::tcp_ext(&site.lab.client, "TCPSynRetrans")?;
    thread::scope(|scope| {
        let sessions: Vec<_> = [
            (Family::V4, 0),
            (Family::V4, 1),
            (Family::V6, 0),
            (Family::V6, 1),
        ]
        .into_iter()
        .map(|(family, n)| {
            let (site, content) = (&site, &content);
            scope.spawn(move || -> Result<()> {
                let mut session = site.anonymous(family, n)?;
                for _ in 0..100 {
                    files::ensure_equal("file", &session.retrieve("file")?, content)?;
                }
                Ok(())
            })
        })
        .collect();
        sessions
            .into_iter()
            .try_for_each(|session| session.join().ok().context("a session panicked")?)
    })?;
    let again = counters::tcp_ext(&site.lab.client, "TCPSynRetrans")? - before;
    ensure!(again == 0, "{again} SYNs were sent again");
    Ok(())
}

/// A lab without the daemon must not look like one with it: what the other scenarios call silence
/// comes from the locks.
#[test]
fn without_locks_a_closed_port_answers() -> Result<()> {
    need_root!();
    let site = Site::in_lab(Lab::new()?, |settings| {
        settings.set("enforce.enabled", false)
    })?;
    let wire = site.lab.client_wire()?;
    for family in Family::BOTH {
        let from = client_end(family, 0, wire.fresh_port());
        let closed = server_end(family, CLOSED);
        ensure!(site.syn(&wire, from, closed)?.is_reset());
    }
    Ok(())
}
