//! By which interfaces control connections come in, and so which ones the guard locks by itself.

use std::{
    io::Read as _,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ftp_tests::{
    control,
    guarded::guard_in,
    lab::{self, Family, Lab, Options, THIRD4},
    need_root,
    settings::CONTROL_PORT,
    site::{control_address, server_end},
    wait,
};

/// The test's own process is the server: it accepts a control connection and listens for data.
struct Session {
    _client: TcpStream,
    server: TcpStream,
    data: TcpListener,
}

impl Session {
    fn begin(lab: &Lab, control: &TcpListener) -> Result<Session> {
        let from = lab::client_address(Family::V4, 0);
        let client = control::connect(&lab.client, from, control_address(Family::V4))?;
        let (server, _) = control.accept()?;
        let data = listen(lab, server_end(Family::V4, 0))?;
        Ok(Session {
            _client: client,
            server,
            data,
        })
    }

    /// Its client gets through; a stranger from `third` does not, though the way is open.
    fn ensure_guarded(&self, lab: &Lab) -> Result<()> {
        let third = lab.third.as_ref().context("a third host")?;
        let to = self.data.local_addr()?;
        let stranger = |to| {
            let from = SocketAddr::new(THIRD4.into(), 0);
            control::connect_from(third, from, to, Duration::from_millis(800))
        };
        stranger(self.server.local_addr()?).context("no way from there: it proves nothing")?;
        ensure!(stranger(to).is_err(), "a stranger got in");
        let mut data = control::connect(&lab.client, lab::client_address(Family::V4, 0), to)?;
        drop(self.data.accept()?);
        ensure!(data.read(&mut [0])? == 0);
        Ok(())
    }
}

fn listen(lab: &Lab, at: SocketAddr) -> Result<TcpListener> {
    Ok(lab.server.run(|| TcpListener::bind(at))??)
}

fn lab_with_third() -> Result<Lab> {
    Lab::with(Options {
        third: true,
        ..Options::default()
    })
}

/// The kernel takes packets for an address by any interface, whether or not that has an address itself.
#[test]
fn an_address_is_guarded_on_every_interface_that_leads_to_it() -> Result<()> {
    need_root!();
    for numbered in [true, false] {
        let lab = lab_with_third()?;
        if !numbered {
            let third = lab.third.as_ref().context("a third host")?;
            let address: IpAddr = lab::server_address(Family::V4);
            lab.server
                .ip("addr flush dev s1\nroute add 10.78.0.0/24 dev s1\n")?;
            third.ip(&format!("route add {address} dev t0\n"))?;
        }
        let control = listen(&lab, server_end(Family::V4, CONTROL_PORT))?;
        let guard = guard_in(&lab.server, &[])?;
        Session::begin(&lab, &control)?
            .ensure_guarded(&lab)
            .with_context(|| format!("numbered: {numbered}\n{}", guard.log()))?;
    }
    Ok(())
}

/// A server that is started, or configured anew, later than its guard.
#[test]
fn where_control_connections_come_in_may_widen_later() -> Result<()> {
    need_root!();
    let lab = lab_with_third()?;
    let loopback = SocketAddr::from(([127, 0, 0, 1], CONTROL_PORT));
    let _before = listen(&lab, loopback)?;
    let guard = guard_in(&lab.server, &[])?;
    let locked = |name: &str| {
        let line = format!("locked {name} ");
        guard.has_said(|said| said.contains(&line))
    };
    ensure!(locked("lo") && !locked("s0"), "{}", guard.log());
    let control = listen(&lab, server_end(Family::V4, CONTROL_PORT))?;
    wait::until("the other interfaces are locked", || {
        locked("s0") && locked("s1")
    })
    .with_context(|| guard.log())?;
    Session::begin(&lab, &control)?
        .ensure_guarded(&lab)
        .with_context(|| guard.log())
}
