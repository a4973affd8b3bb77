//! `pinhole trace`: what it tells of real transfers of our own server and of one behind the guard.

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    control::Control,
    daemon,
    guarded::Scene,
    lab::{Family, Lab, Options},
    need_root,
    peer::{Brand, INCOMING},
    site::Site,
    trace::{PASSIVE, Trace, at, steps},
};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

/// `CLOCK_MONOTONIC`
fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A transfer, between two looks at the clock.
struct Bounds {
    began: u64,
    ended: u64,
}

fn bounds(transfer: impl FnOnce() -> Result<()>) -> Result<Bounds> {
    let began = now_ns();
    transfer()?;
    Ok(Bounds {
        began,
        ended: now_ns(),
    })
}

/// Fails unless the passive transfer was told step by step, in order, within its bounds. What the
/// client sees last is the 226: the kernel's farewell may come after it.
fn ensure_told(told: &Value, bounds: &Bounds, first_byte_by: &str) -> Result<()> {
    ensure!(steps(told) == PASSIVE, "not every step: {told}");
    ensure!(
        told["mode"] == "passive" && told["first_byte_by"] == first_byte_by,
        "{told}"
    );
    let times: Vec<u64> = PASSIVE
        .iter()
        .map(|step| at(told, step))
        .collect::<Result<_>>()?;
    let until_accepted = &times[..5];
    ensure!(until_accepted.is_sorted(), "out of order: {told}");
    let [.., first, last, _closed] = times[..] else {
        anyhow::bail!("{told}");
    };
    ensure!(first <= last, "{told}");
    ensure!(
        bounds.began < times[0] && last < bounds.ended,
        "not between {} and {}: {told}",
        bounds.began,
        bounds.ended
    );
    Ok(())
}

/// A download, an upload, and an active download.
fn transfers(session: &mut Control, upload: &str, content: &[u8]) -> Result<[Bounds; 3]> {
    let down = bounds(|| {
        ensure!(session.retrieve("file")? == content);
        Ok(())
    })?;
    let up = bounds(|| session.store(&format!("STOR {upload}"), content))?;
    let active = bounds(|| {
        let listener = session.listen()?;
        session.port_to(&listener)?;
        session.send(b"RETR file\r\n")?;
        let (mut data, _) = listener.accept()?;
        session.expect_transfer()?;
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut data, &mut bytes)?;
        drop(data);
        session.expect_reply(226)?;
        ensure!(bytes == content);
        Ok(())
    })?;
    Ok([down, up, active])
}

fn ensure_all_told(told: &[Value], [down, up, active]: &[Bounds; 3]) -> Result<()> {
    let [told_down, told_up, told_active] = told else {
        anyhow::bail!("{} transfers were told: {told:?}", told.len());
    };
    ensure_told(told_down, down, "server").context("download")?;
    ensure_told(told_up, up, "client").context("upload")?;
    ensure!(told_active["mode"] == "active", "{told_active}");
    let wanted = ["syn", "established", "first_byte", "last_byte", "closed"];
    ensure!(steps(told_active) == wanted, "{told_active}");
    let (first, last) = (at(told_active, "syn")?, at(told_active, "last_byte")?);
    ensure!(
        active.began < first && last < active.ended,
        "not within its bounds: {told_active}"
    );
    Ok(())
}

#[test]
fn every_step_of_our_own_servers_transfers_is_told() -> Result<()> {
    need_root!();
    let site = Site::with_writer(Ok)?;
    let content = site.put("file", 300_000)?;
    let trace = Trace::start(&daemon::binary()?, &site.lab.server, site.daemon.pid())?;
    for family in Family::BOTH {
        let mut session = site.writer(family)?;
        let count = match family {
            Family::V4 => 0,
            Family::V6 => 3,
        };
        let bounds = transfers(&mut session, &format!("{family:?}"), &content)?;
        let told = trace.transfers(count + 3)?;
        ensure_all_told(&told[count..], &bounds).with_context(|| format!("{family:?}"))?;
        ensure!(
            told[count]["session"] == told[count + 1]["session"]
                && told[count]["process"] == site.daemon.pid(),
            "{told:?}"
        );
    }
    // What is no data connection is not told: an anonymous session that transfers nothing.
    let mut idle = site.anonymous(Family::V4, 1)?;
    idle.passive()?;
    let (told, summary) = trace.finish()?;
    ensure!(told.len() == 6, "{told:?}");
    ensure!(summary["lost"] == 0, "{summary}");
    let syn = summary["intervals"].as_array().and_then(|all| {
        all.iter()
            .find(|interval| interval["from"] == "negotiated" && interval["to"] == "syn")
    });
    ensure!(syn.is_some_and(|syn| syn["count"] == 4), "{summary}");
    Ok(())
}

#[test]
fn it_ends_with_the_daemon() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    let trace = Trace::start(&daemon::binary()?, &site.lab.server, site.daemon.pid())?;
    site.daemon.stop()?;
    let said = trace.until_it_fails()?;
    ensure!(said.contains("has ended"), "{said}");
    Ok(())
}

#[test]
fn every_step_of_a_guarded_servers_transfers_is_told() -> Result<()> {
    need_root!();
    let guarded = Scene {
        network: Options {
            clients: 1,
            ..Options::default()
        },
        ..Scene::of(Brand::Vsftpd)
    }
    .start()?;
    let lab: &Lab = &guarded.lab;
    let trace = Trace::start(&daemon::binary()?, &lab.server, guarded.guard.pid())?;
    // Listens while it is watched, and is no FTP server.
    let other = lab
        .server
        .run(|| std::net::TcpListener::bind(("0.0.0.0", 0)))??;
    let address = (
        ftp_tests::lab::server_address(Family::V4),
        other.local_addr()?.port(),
    );
    let stranger = lab.client.run(|| std::net::TcpStream::connect(address))??;
    drop((other.accept()?, stranger));

    let mut session = guarded.session(Family::V4, 0)?;
    let upload = format!("{INCOMING}/upload");
    let bounds = transfers(&mut session, &upload, &guarded.content)?;
    let told = trace.transfers(3)?;
    ensure_all_told(&told, &bounds)?;
    // The session that the guard has given the pinhole holds the process that accepted.
    let (session, process) = (told[0]["session"].as_u64(), told[0]["process"].as_u64());
    ensure!(
        session.map(|session| session >> 32) == process && process.is_some(),
        "{}",
        told[0]
    );
    let (told, summary) = trace.finish()?;
    ensure!(
        told.len() == 3 && summary["lost"] == 0,
        "{told:?} {summary}"
    );
    Ok(())
}
