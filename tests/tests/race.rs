//! Races for one pinhole: two CPUs with a SYN each, and a daemon that deletes while SYNs come.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    counters, files,
    frame::{Flags, Segment},
    lab::Family,
    need_root,
    site::{self, Site, client_end},
    wire::Wire,
};

const ROUNDS: u16 = 60;
/// Source ports of each of two senders.
const PORTS: u16 = 32;

/// Sends SYNs from many ports, each racing with the other sender's.
fn race(
    wire: &Wire,
    family: Family,
    first_port: u16,
    to: SocketAddr,
    start: &Barrier,
) -> Result<()> {
    let (from_mac, to_mac) = wire.macs();
    let frames = (0..PORTS)
        .map(|n| Segment::syn(client_end(family, 0, first_port + n), to).frame(from_mac, to_mac))
        .collect::<Result<Vec<_>>>()?;
    start.wait();
    frames.iter().try_for_each(|frame| wire.send_frame(frame))
}

/// Every source port that the server offers a connection.
fn offered(wire: &Wire, to: SocketAddr) -> Result<BTreeSet<u16>> {
    let mut ports = BTreeSet::new();
    // All answers to the race have come when the answer to a later SYN has.
    let canary = site::control_address(Family::of(to.ip()));
    let last = Segment::syn(
        SocketAddr::new(
            client_end(Family::of(to.ip()), 0, 0).ip(),
            wire.fresh_port(),
        ),
        canary,
    );
    wire.send(&last)?;
    let seen = wire.receive(Duration::from_secs(5), |segment| {
        if segment.from == to && segment.flags.has(Flags::SYN | Flags::ACK) {
            ports.insert(segment.to.port());
        }
        segment.from == canary && segment.to == last.from
    })?;
    seen.context("the canary is not answered")?;
    Ok(ports)
}

/// Frames are handled on the CPU that sends them (veth, tcx and generic XDP), so two senders make
/// two CPUs race.
fn exercise(attach: &str) -> Result<()> {
    let site = Site::with_writer(|settings| settings.set("enforce.attach", attach))?;
    site::mute_resets(&site.lab)?;
    let ear = site.lab.client_wire()?;
    let senders = [site.lab.client_wire()?, site.lab.client_wire()?];
    let mut winners_of = [0, 0];
    for family in Family::BOTH {
        let mut session = site.anonymous(family, 0)?;
        for round in 0..ROUNDS {
            // Ports of its own for each round: an earlier one has left a connection half open.
            let ports = [10_000, 20_000].map(|first| first + round * PORTS);
            let hole = session.passive()?;
            let before = (site.count("pinhole-syn")?, site.count("claimed")?);
            let start = Barrier::new(2);
            thread::scope(|scope| {
                let start = &start;
                let racers: Vec<_> = senders
                    .iter()
                    .zip(ports)
                    .map(|(wire, port)| scope.spawn(move || race(wire, family, port, hole, start)))
                    .collect();
                racers
                    .into_iter()
                    .try_for_each(|racer| racer.join().ok().context("a racer panicked")?)
            })?;
            let offered = offered(&ear, hole)?;
            ensure!(
                offered.len() == 1,
                "round {round}: connections were offered to {offered:?}"
            );
            let winner = offered.first().copied().context("a winner")?;
            winners_of[usize::from(winner >= 20_000)] += 1;
            let rows = site.pinholes()?;
            let row = rows.iter().find(|row| row.port == hole.port());
            ensure!(
                row.and_then(|row| row.claimed_by) == Some(winner),
                "{rows:?}, {winner} won"
            );
            let through = site.count("pinhole-syn")? - before.0;
            let refused = site.count("claimed")? - before.1;
            ensure!(
                through == 1 && refused == 2 * u64::from(PORTS) - 1,
                "{through} SYNs went through, {refused} were refused"
            );
        }
    }
    eprintln!("won by the first sender, and by the second: {winners_of:?}");
    Ok(())
}

#[test]
fn one_of_many_syns_gets_a_pinhole_through_tcx() -> Result<()> {
    need_root!();
    exercise("tcx")
}

#[test]
fn one_of_many_syns_gets_a_pinhole_through_generic_xdp() -> Result<()> {
    need_root!();
    exercise("generic")
}

#[test]
fn one_of_many_syns_gets_a_pinhole_through_native_xdp() -> Result<()> {
    need_root!();
    exercise("native")
}

/// Sends SYNs to every passive port until told to stop; says how many.
fn hail(wire: &Wire, family: Family, n: u16, over: &AtomicBool) -> Result<u64> {
    let mut sent = 0;
    while !over.load(Ordering::Relaxed) {
        for port in 30000..=30015 {
            let from = client_end(family, n, 1024 + (sent % 40_000) as u16);
            wire.send(&Segment::syn(from, site::server_end(family, port)))?;
            sent += 1;
        }
    }
    Ok(sent)
}

/// A pinhole opened and closed, hundreds of times, under a hail of SYNs that match it: the table
/// stays whole, nothing lingers, and the next client is served.
#[test]
fn pinholes_are_deleted_while_syns_come() -> Result<()> {
    need_root!();
    for attach in ["tcx", "native"] {
        let site = Site::with_writer(|settings| settings.set("enforce.attach", attach))?;
        let content = site.put("file", 50_000)?;
        let wires = [site.lab.client_wire()?, site.lab.client_wire()?];
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let (site, over) = (&site, &over);
            let hails: Vec<_> = wires
                .iter()
                .zip(Family::BOTH)
                .map(|(wire, family)| scope.spawn(move || hail(wire, family, 0, over)))
                .collect();
            let sessions = (|| -> Result<()> {
                for family in Family::BOTH {
                    let mut session = site.anonymous(family, 0)?;
                    for _ in 0..300 {
                        session.passive()?;
                        session.expect("ABOR", 226)?;
                    }
                    for _ in 0..20 {
                        let mut session = site.anonymous(family, 0)?;
                        session.passive()?;
                        drop(session);
                    }
                }
                site.until_no_pinhole()
            })();
            over.store(true, Ordering::Relaxed);
            for hail in hails {
                let sent = hail.join().ok().context("a hail panicked")??;
                ensure!(sent > 1000, "only {sent} SYNs: hardly a hail");
            }
            sessions
        })?;
        for family in Family::BOTH {
            let mut session = site.anonymous(family, 0)?;
            for _ in 0..20 {
                files::ensure_equal("download", &session.retrieve("file")?, &content)?;
            }
        }
        site.until_no_pinhole()?;
    }
    Ok(())
}

/// SYNs of somebody else do not even slow the right client's handshake.
#[test]
fn strangers_syns_cost_the_client_nothing() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    let content = site.put("file", 50_000)?;
    let wire = site.lab.client_wire()?;
    let before = counters::tcp_ext(&site.lab.client, "TCPSynRetrans")?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (wire, over) = (&wire, &over);
        let hailing = scope.spawn(move || hail(wire, Family::V4, 1, over));
        let downloads = (|| -> Result<()> {
            let mut session = site.anonymous(Family::V4, 0)?;
            for _ in 0..100 {
                files::ensure_equal("download", &session.retrieve("file")?, &content)?;
            }
            Ok(())
        })();
        over.store(true, Ordering::Relaxed);
        hailing.join().ok().context("the hail panicked")??;
        downloads
    })?;
    let again = counters::tcp_ext(&site.lab.client, "TCPSynRetrans")? - before;
    ensure!(again == 0, "{again} SYNs were sent again");
    Ok(())
}
