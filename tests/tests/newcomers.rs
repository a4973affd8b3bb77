//! Interfaces that come up while the daemon runs, and such whose packets have no Ethernet header.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use ftp_tests::{
    control::{self, Control},
    files,
    lab::{Family, Lab, Options},
    need_root,
    site::Site,
    tunnel::{INTERFACE, Tunnel},
    wait,
};

/// A passive port, while no session has a pinhole.
const CLOSED: u16 = 30007;

/// A tunnel with addresses: the server is .1 and ::1 in it, the client all others.
fn tunnel(lab: &Lab) -> Result<Tunnel> {
    let tunnel = Tunnel::between(&lab.client, &lab.server)?;
    lab.client.ip(&format!(
        "link set {INTERFACE} up\n\
         addr add 10.80.0.2/24 dev {INTERFACE}\n\
         addr add 10.80.0.3/24 dev {INTERFACE}\n\
         addr add fd80::2/64 dev {INTERFACE} nodad\n\
         addr add fd80::3/64 dev {INTERFACE} nodad\n"
    ))?;
    lab.server.ip(&format!(
        "link set {INTERFACE} up\n\
         addr add 10.80.0.1/24 dev {INTERFACE}\n\
         addr add fd80::1/64 dev {INTERFACE} nodad\n"
    ))?;
    Ok(tunnel)
}

fn server(family: Family, port: u16) -> Result<SocketAddr> {
    let address: IpAddr = match family {
        Family::V4 => "10.80.0.1".parse()?,
        Family::V6 => "fd80::1".parse()?,
    };
    Ok(SocketAddr::new(address, port))
}

fn client(family: Family, n: u16) -> Result<IpAddr> {
    Ok(match family {
        Family::V4 => format!("10.80.0.{}", n + 2).parse()?,
        Family::V6 => format!("fd80::{}", n + 2).parse()?,
    })
}

/// Whether a connection to there is answered by nobody, not even with a refusal.
fn is_dropped(lab: &Lab, from: IpAddr, to: SocketAddr) -> Result<bool> {
    let limit = Duration::from_millis(300);
    let from = SocketAddr::new(from, 0);
    let Err(error) = control::connect_from(&lab.client, from, to, limit) else {
        bail!("{to} takes a connection from {from}");
    };
    let cause = error.root_cause().downcast_ref::<std::io::Error>();
    match cause.context("no error of the system")?.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => Ok(true),
        ErrorKind::ConnectionRefused => Ok(false),
        _ => Err(error),
    }
}

fn until_locked(lab: &Lab, family: Family) -> Result<()> {
    let (from, to) = (client(family, 0)?, server(family, CLOSED)?);
    wait::poll_within(wait::SOON, "the tunnel is locked", || {
        Ok(is_dropped(lab, from, to)?.then_some(()))
    })
}

/// Before its lock, a tunnel's closed ports are refused, because nothing listens there; with it they
/// are silent. It is a whole path for sessions, and a wall for others.
#[test]
fn a_tunnel_that_comes_up_later_is_locked() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    let content = site.put("file", 300_000)?;
    // The second time it is another interface of the same name.
    for round in 0..2 {
        let tunnel = tunnel(&site.lab)?;
        for family in Family::BOTH {
            until_locked(&site.lab, family)
                .with_context(|| format!("round {round}, {family:?}: {}", site.daemon.log()))?;
            let (own, stranger) = (client(family, 0)?, client(family, 1)?);
            let mut session = Control::anonymous(&site.lab.client, own, server(family, 21)?)?;
            for _ in 0..5 {
                let hole = session.passive()?;
                ensure!(hole.ip() == server(family, 0)?.ip(), "{hole}");
                let before = site.count("wrong-client")?;
                ensure!(is_dropped(&site.lab, stranger, hole)?);
                ensure!(site.count("wrong-client")? > before);
                let fetched = session.fetch("RETR file", hole)?;
                files::ensure_equal("download", &fetched, &content)?;
            }
        }
        drop(tunnel);
    }
    ensure!(
        site.daemon
            .has_said(|line| line.contains("locked tun0 with tcx")),
        "{}",
        site.daemon.log()
    );
    Ok(())
}

/// The kernel refuses XDP on a port of a bridge that has a program itself (net/core/dev.c:
/// `dev_xdp_attach`).
#[test]
fn an_interface_that_refused_its_lock_is_tried_again_when_it_comes_up_again() -> Result<()> {
    need_root!();
    let site = Site::with(Options::default(), |settings| {
        settings.set("enforce.attach", "generic")
    })?;
    let (server, daemon) = (&site.lab.server, &site.daemon);
    let until_said = |what: &str| {
        wait::until(what, || daemon.has_said(|line| line.contains(what)))
            .with_context(|| daemon.log())
    };
    server.ip("link add late type bridge\nlink set late up\n")?;
    until_said("locked late with generic")?;
    server.ip("link add late0 type veth peer name late1\n\
         link set late0 master late\n\
         addr add 10.81.0.1/24 dev late0\n\
         link set late0 up\n")?;
    until_said("interface late0 has come up and is not locked")?;
    // It goes down and comes up until the daemon has seen it down: it sees only what is.
    server.ip("link set late0 nomaster\n")?;
    let mut state = ["down", "up"].into_iter().cycle();
    wait::poll_within(wait::SOON, "late0 is locked", || {
        let state = state.next().context("it cycles")?;
        server.ip(&format!("link set late0 {state}\n"))?;
        let locked = daemon.has_said(|line| line.contains("locked late0 with generic"));
        Ok(locked.then_some(()))
    })
    .with_context(|| daemon.log())
}
