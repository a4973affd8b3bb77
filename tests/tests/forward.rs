//! A host that forwards, with a masqueraded guest behind it: what is the guest's passes, what is the
//! host's own is locked.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    control, files,
    frame::{Flags, Segment},
    lab::{self, Family, GUEST4, Options},
    namespace::NetNs,
    need_root,
    settings::Settings,
    site::{Site, client_end, server_end},
    wait,
    wire::Answer,
};

/// Bytes of a guest's conversation, each way.
const LEN: usize = 500_000;

/// Sends `LEN` bytes each way over `stream`; the other side is [`answer`].
fn converse(mut stream: TcpStream) -> Result<()> {
    let message = files::noise(3, LEN);
    let mut writer = stream.try_clone()?;
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            writer.write_all(&message)?;
            writer.shutdown(std::net::Shutdown::Write)
        });
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        sending.join().ok().context("the sender panicked")??;
        files::ensure_equal("the conversation", &answer, &message)
    })
}

/// Sends back all that the next connection to `listener` brings; says where that came from.
fn answer(listener: TcpListener) -> thread::JoinHandle<Result<SocketAddr>> {
    thread::spawn(move || {
        let (stream, from) = listener.accept()?;
        let (mut reader, mut writer) = (stream.try_clone()?, stream);
        std::io::copy(&mut reader, &mut writer)?;
        Ok(from)
    })
}

fn exercise(attach: &str) -> Result<()> {
    let options = Options {
        guest: true,
        ..Options::default()
    };
    let site = Site::with(options, |settings| settings.set("enforce.attach", attach))?;
    let guest = site.lab.guest.as_ref().context("a guest")?;
    let outside = client_end(Family::V4, 0, 8080);

    // The guest's outgoing connections, from ports inside the range: masquerading keeps the port.
    for port in [30000, 30007, 30015] {
        let listener = site.lab.client.run(|| TcpListener::bind(outside))??;
        let answering = answer(listener);
        let from = SocketAddr::new(GUEST4.into(), port);
        converse(control::connect_from(guest, from, outside, wait::SOON)?)?;
        let seen = answering.join().ok().context("the other side panicked")??;
        ensure!(
            seen == server_end(Family::V4, port),
            "masqueraded as {seen}: the scenario proves nothing"
        );
    }
    ensure!(
        site.count("stray-passed")? > 0,
        "no reply was seen as a guest's"
    );

    // Connections to the guest, on such a port.
    for port in [30000, 30007] {
        let address = SocketAddr::new(GUEST4.into(), port);
        let listener = guest.run(|| TcpListener::bind(address))??;
        let answering = answer(listener);
        let from = lab::client_address(Family::V4, 1);
        converse(control::connect(&site.lab.client, from, address)?)?;
        answering.join().ok().context("the guest panicked")??;
    }
    ensure!(
        site.count("not-local")? > 0,
        "nothing was seen on its way to the guest"
    );

    // The host's own ports are locked: no SYN, no probe is a stray.
    let wire = site.lab.client_wire()?;
    let mut session = site.anonymous(Family::V4, 0)?;
    let hole = session.passive()?;
    let closed = (30000..=30015).find(|port| *port != hole.port());
    let closed = server_end(Family::V4, closed.context("sixteen ports")?);
    for bits in 0..64 {
        let flags = Flags(bits);
        let says_it_belongs =
            flags.has(Flags::ACK) || flags.has(Flags::RST) && !flags.has(Flags::SYN);
        for (n, to) in [(0, closed), (1, closed), (1, hole)] {
            let segment = Segment {
                flags,
                ..Segment::syn(client_end(Family::V4, n, wire.fresh_port()), to)
            };
            let answer = site.probe(&wire, segment)?;
            // A stray ACK may be a reply to a guest; the kernel says that it is not.
            let right = match says_it_belongs {
                true => answer == Answer::Nothing || answer.is_reset(),
                false => answer == Answer::Nothing,
            };
            ensure!(right, "{segment:?}: {answer:?}");
        }
    }
    let content = site.put("file", LEN)?;
    let fetched = session.fetch("RETR file", hole)?;
    files::ensure_equal("the host's own download", &fetched, &content)
}

#[test]
fn through_tcx() -> Result<()> {
    need_root!();
    exercise("tcx")
}

#[test]
fn through_native_xdp() -> Result<()> {
    need_root!();
    exercise("native")
}

#[test]
fn through_generic_xdp() -> Result<()> {
    need_root!();
    exercise("generic")
}

/// Addresses come and go while the daemon runs: what is the host's own is always locked.
#[test]
fn an_address_that_comes_later_is_locked() -> Result<()> {
    need_root!();
    let options = Options {
        guest: true,
        ..Options::default()
    };
    let site = Site::with(options, Ok)?;
    let wire = site.lab.client_wire()?;
    let later: SocketAddr = "10.77.9.9:30003".parse()?;
    let syn = || {
        let from = client_end(Family::V4, 0, wire.fresh_port());
        site.probe(&wire, Segment::syn(from, later))
    };
    // Nobody's address: forwarded, to where nobody answers; or refused by the kernel.
    syn()?;
    site.lab.server.ip("addr add 10.77.9.9/16 dev s0\n")?;
    let canary = SocketAddr::new(later.ip(), 21);
    wait::poll_within(wait::SOON, "the new address is locked", || {
        let from = client_end(Family::V4, 0, wire.fresh_port());
        let answer = wire.probe(Segment::syn(from, later), canary)?;
        Ok((answer == Answer::Nothing).then_some(()))
    })?;
    // And a session over the new address works.
    let content = site.put("file", 1000)?;
    let from = lab::client_address(Family::V4, 0);
    let mut session = control::Control::anonymous(&site.lab.client, from, canary)?;
    let hole = session.passive()?;
    ensure!(hole.ip() == later.ip());
    files::ensure_equal("download", &session.fetch("RETR file", hole)?, &content)
}

/// A host that begins to forward while the daemon runs.
#[test]
fn forwarding_that_begins_later_is_noticed() -> Result<()> {
    need_root!();
    let options = Options {
        guest: true,
        ..Options::default()
    };
    let lab = lab::Lab::with(options)?;
    lab.server.sysctl("net/ipv4/ip_forward", "0")?;
    let site = Site::in_lab(lab, Ok)?;
    let guest = site.lab.guest.as_ref().context("a guest")?;
    let address = SocketAddr::new(GUEST4.into(), 30004);
    site.lab.server.sysctl("net/ipv4/ip_forward", "1")?;
    let listener = guest.run(|| TcpListener::bind(address))??;
    let answering = answer(listener);
    // The first SYNs may come too early; TCP repeats them.
    let from = lab::client_address(Family::V4, 0);
    converse(control::connect(&site.lab.client, from, address)?)?;
    answering.join().ok().context("the guest panicked")??;
    Ok(())
}

/// An interface that becomes a port of a bridge carries frames for others, too.
#[test]
fn a_bridge_that_is_made_later_is_noticed() -> Result<()> {
    need_root!();
    let lab = lab::Lab::new()?;
    let guest = NetNs::new("guest")?;
    let named = |settings: Settings| settings.set("enforce.interfaces", vec!["s0".to_owned()]);
    let site = Site::in_lab(lab, named)?;
    let address: SocketAddr = "10.77.200.1:30004".parse()?;
    let wire = site.lab.client_wire()?;
    // The bridge has the interface's hardware address, so that the raw frames below reach it.
    let (_, mac) = wire.macs();
    let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
    site.lab.server.ip(&format!(
        "link add br0 address {mac} type bridge forward_delay 0\n\
         link add g1 type veth peer name g0 netns {}\n\
         link set g1 master br0 up\n\
         addr del 10.77.0.1/16 dev s0\n\
         link set s0 master br0\n\
         link set br0 up\n\
         addr add 10.77.0.1/16 dev br0\n",
        guest.path()
    ))?;
    guest.ip("link set g0 up\naddr add 10.77.200.1/16 dev g0\n")?;
    let listener = guest.run(|| TcpListener::bind(address))??;
    let answering = answer(listener);
    // The first SYNs may come too early; TCP repeats them.
    let from = lab::client_address(Family::V4, 0);
    converse(control::connect(&site.lab.client, from, address)?)?;
    answering.join().ok().context("the guest panicked")??;
    // The host's own ports are locked as before.
    let syn = Segment::syn(
        client_end(Family::V4, 0, wire.fresh_port()),
        server_end(Family::V4, 30004),
    );
    let answer = site.probe(&wire, syn)?;
    ensure!(answer == Answer::Nothing, "{answer:?}");
    Ok(())
}
