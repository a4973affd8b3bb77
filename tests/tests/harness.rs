//! The harness itself: a network that works, that is gone with the test however it ends, and
//! probes that can tell an answer from silence.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{IpAddr, SocketAddr},
    os::unix::fs::MetadataExt,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    control, counters,
    frame::{Flags, Segment},
    lab::{self, Family, Lab, Options},
    need_root, process, wait,
    wire::Answer,
};

const PORT: u16 = 31000;

/// A listener that accepts and closes, for as long as the namespace is asked.
fn serve(lab: &Lab, family: Family) -> Result<SocketAddr> {
    let address = SocketAddr::new(lab::server_address(family), PORT);
    let listener = lab.server.run(|| std::net::TcpListener::bind(address))??;
    thread::spawn(move || listener.incoming().for_each(drop));
    Ok(address)
}

#[test]
fn every_client_address_reaches_the_server() -> Result<()> {
    need_root!();
    let lab = Lab::with(Options {
        clients: 300,
        third: true,
        ..Options::default()
    })?;
    for family in Family::BOTH {
        let server = serve(&lab, family)?;
        for n in [0, 1, 299] {
            let from = lab::client_address(family, n);
            let stream = control::connect(&lab.client, from, server)?;
            ensure!(stream.local_addr()?.ip() == from);
        }
        let listening = counters::listeners(&lab.server)?;
        ensure!(listening.contains(&server), "{server} not in {listening:?}");
    }
    let third = lab.third.as_ref().context("a third host was asked for")?;
    let server = SocketAddr::new(lab::server_address(Family::V4), PORT);
    control::connect(third, lab::THIRD4.into(), server)?;
    Ok(())
}

#[test]
fn a_masqueraded_guest_reaches_the_client_and_is_reached() -> Result<()> {
    need_root!();
    let lab = Lab::with(Options {
        guest: true,
        ..Options::default()
    })?;
    let guest = lab.guest.as_ref().context("a guest was asked for")?;
    let outside = SocketAddr::new(lab::client_address(Family::V4, 0), 80);
    let listener = lab.client.run(|| std::net::TcpListener::bind(outside))??;
    let _out = control::connect(guest, lab::GUEST4.into(), outside)?;
    let (_in, seen_from) = listener.accept()?;
    ensure!(
        seen_from.ip() == lab::server_address(Family::V4),
        "{seen_from}"
    );

    let inside = SocketAddr::new(lab::GUEST4.into(), PORT);
    let _listener = guest.run(|| std::net::TcpListener::bind(inside))??;
    control::connect(&lab.client, outside.ip(), inside)?;
    Ok(())
}

#[test]
fn a_probe_tells_an_offer_a_reset_and_silence_apart() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    let wire = lab.client_wire()?;
    for family in Family::BOTH {
        let open = serve(&lab, family)?;
        let closed = SocketAddr::new(open.ip(), PORT + 1);
        let phantom = lab::phantom_address(family, 1);
        lab.add_phantom(phantom)?;
        for from in [lab::client_address(family, 0), phantom] {
            let from = SocketAddr::new(from, 40001);
            ensure!(wire.probe(Segment::syn(from, open), open)? == Answer::SYN_ACK);
            ensure!(wire.probe(Segment::syn(from, closed), open)?.is_reset());
            // From a port without a half open connection, which would be answered with ACK.
            let null = Segment {
                flags: Flags::NULL,
                ..Segment::syn(SocketAddr::new(from.ip(), 40002), open)
            };
            ensure!(wire.probe(null, open)? == Answer::Nothing);
        }
    }
    // A probe whose canary is dead proves nothing, and says so.
    let dead = SocketAddr::new(lab::phantom_address(Family::V4, 9), PORT);
    let from = SocketAddr::new(lab::client_address(Family::V4, 0), 40002);
    ensure!(wire.probe(Segment::syn(from, dead), dead).is_err());
    Ok(())
}

#[test]
fn segments_are_frames_of_their_own_without_offload() -> Result<()> {
    need_root!();
    use std::io::Write;
    for (offload, expected) in [(false, true), (true, false)] {
        let lab = Lab::with(Options {
            offload,
            ..Options::default()
        })?;
        let wire = lab.client_wire()?;
        let from: IpAddr = lab::client_address(Family::V4, 0);
        let server = SocketAddr::new(lab::server_address(Family::V4), PORT);
        let listener = lab.server.run(|| std::net::TcpListener::bind(server))??;
        let mut client = control::connect(&lab.client, from, server)?;
        let (mut stream, _) = listener.accept()?;
        let sender = thread::spawn(move || stream.write_all(&[7; 1 << 20]));
        let received = std::io::copy(&mut client, &mut std::io::sink())?;
        sender.join().ok().context("the sender panicked")??;
        ensure!(received == 1 << 20);
        let mut longest = 0;
        while let Some(len) = wire.try_receive_len()? {
            longest = longest.max(len);
        }
        ensure!(
            (longest <= 1514) == expected,
            "offload {offload}: {longest}"
        );
    }
    Ok(())
}

/// Run by [`nothing_is_left_when_the_test_process_is_killed`], which kills it.
#[test]
#[ignore = "waits to be killed; another test starts it"]
fn wait_to_be_killed() -> Result<()> {
    let lab = Lab::new()?;
    let mut sleeper = lab.server.command("sleep");
    sleeper.arg("1000");
    let sleeper = process::spawn(sleeper)?;
    eprintln!(
        "made {} {} {}",
        lab.client.inode()?,
        lab.server.inode()?,
        sleeper.id()
    );
    loop {
        thread::park();
    }
}

#[test]
fn nothing_is_left_when_the_test_process_is_killed() -> Result<()> {
    need_root!();
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--ignored", "--exact", "wait_to_be_killed", "--nocapture"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let stderr = child.stderr.take().context("its stderr")?;
    let made = BufReader::new(stderr)
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("made ").map(str::to_owned));
    child.kill()?;
    child.wait()?;
    let made = made.context("it made no network")?;
    let numbers: Vec<u64> = made
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let [client, server, sleeper] = numbers[..] else {
        anyhow::bail!("cannot read {made:?}");
    };
    wait::until("its child is gone", || {
        !fs::exists(format!("/proc/{sleeper}/ns/net")).unwrap_or(true)
    })?;
    wait::until("no process lives in its namespaces", || {
        !inhabited().any(|inode| inode == client || inode == server)
    })?;
    ensure!(
        !named().any(|inode| inode == client || inode == server),
        "a name is left under /run/netns"
    );
    Ok(())
}

fn inhabited() -> impl Iterator<Item = u64> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|process| Some(fs::metadata(process.path().join("ns/net")).ok()?.ino()))
}

fn named() -> impl Iterator<Item = u64> {
    fs::read_dir("/run/netns")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|name| Some(name.metadata().ok()?.ino()))
}
