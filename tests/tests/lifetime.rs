//! A pinhole's end: by its connection, its session, its deadline or its daemon, and nobody gets
//! through any more. Every silence is proven by an answer that came after it.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use ftp_ebpf::abi::{Pinhole, PinholeKey, map};
use ftp_tests::{
    control::{self, Control},
    counters,
    frame::Segment,
    lab::{Family, Options},
    maps, need_root,
    site::{self, Site, client_end},
    wait,
    wire::{Answer, Wire},
};
use rustix::time::{ClockId, clock_gettime};

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
    site.ensure_silent(wire, host, hole)
        .with_context(|| what.to_owned())?;
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
            // The old one goes right after the reply that names the new one.
            session.expect("NOOP", 200)?;
            let rows = site.pinholes()?;
            ensure!(rows.len() == 1, "{rows:?}");
        }
        let last = holes.pop().context("a pinhole")?;
        for hole in holes.into_iter().filter(|hole| *hole != last) {
            site.ensure_silent(&wire, session.host(), hole)?;
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
        site.ensure_silent(&wire, session.host(), hole)?;

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
        site.ensure_silent(&wire, session.host(), hole)?;
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
fn a_pinhole_that_somebody_else_has_removed_is_no_error() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    let mut session = site.anonymous(Family::V4, 0)?;
    session.passive()?;
    let mut rows = maps::hash::<PinholeKey, Pinhole>(site.daemon.pid(), map::PINHOLES)?;
    let key = rows.keys().next().context("no pinhole")??;
    rows.remove(&key)?;
    session.expect("ABOR", 226)?;
    // What is logged from here on comes after what ABOR had to say.
    site.reload(&site.settings.text())?;
    let log = site.daemon.log();
    ensure!(!log.contains("kept a pinhole"), "{log}");
    Ok(())
}
