//! The guard's first session is its own: a control connection to itself over loopback, on a port
//! of the kernel's choice, and a data port behind it. If its pinhole does not come and go, the
//! kernel half does not see what it should, and nothing is locked.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use aya::maps::{Array, HashMap, MapData, MapError};
use ftp_ebpf::abi::{ClientMask, Pinhole, PinholeKey, map};
use socket2::{Domain, Protocol, Socket, Type};

use super::{super::ObjectError, older::Older, ports};
use crate::config::PortSet;

/// What loopback may take on a busy host.
const PATIENCE: Duration = Duration::from_secs(5);
/// Ports that the kernel may offer before one lies outside of those that are shut.
const OFFERS: usize = 64;

/// What a firewall keeps from happening.
const CONNECT: &str = "connect";

/// What did not work.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// No session could be made.
    #[error(
        "self-test: cannot {what} on {address}: is the loopback interface up, and does the firewall \
         let through what comes in by it (`iptables -I INPUT -i lo -j ACCEPT`)?"
    )]
    Session {
        /// The call.
        what: &'static str,
        /// Loopback.
        address: IpAddr,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Every port is shut.
    #[error("self-test: the kernel offers no port outside of those that are shut; leave some out")]
    NoPort,
    /// The tracepoint did not run, or was told something else of the session's beginning.
    #[error(
        "self-test: the guard connected to {address} for its own test session, and the kernel half \
         did not count it. It does not see what servers do: please report it with the kernel's \
         version. Nothing was locked"
    )]
    NotCounted {
        /// The test's control port.
        address: SocketAddr,
    },
    /// The tracepoint did not run, or did not find the session.
    #[error(
        "self-test: the guard listened on {address} for its own test session, and no pinhole \
         appeared. The kernel half does not see what servers do: please report it with the \
         kernel's version. Nothing was locked"
    )]
    NoPinhole {
        /// The test's data port.
        address: SocketAddr,
    },
    /// It stays.
    #[error(
        "self-test: the pinhole of {address} did not go when {when}. The kernel half does not see \
         what servers do: please report it with the kernel's version. Nothing was locked"
    )]
    Stays {
        /// The test's data port.
        address: SocketAddr,
        /// What should have closed it.
        when: &'static str,
    },
    /// The kernel's tables could not be read.
    #[error(transparent)]
    Object(#[from] ObjectError),
}

/// Runs a session over each protocol that the host has.
pub(super) fn run(
    pinholes: &HashMap<MapData, PinholeKey, Pinhole>,
    control_ports: &mut Array<MapData, u64>,
    count: &Older,
    mask: &ClientMask,
    shut: Option<&PortSet>,
) -> Result<(), SelfTestError> {
    // Guards of several namespaces share this process's descriptors, in which they look.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    for address in [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ] {
        let listener = match bind(address, shut) {
            Ok(listener) => listener,
            // A host without IPv6.
            Err(SelfTestError::Session { source, .. })
                if address.is_ipv6()
                    && matches!(
                        source.raw_os_error(),
                        Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT)
                    ) =>
            {
                continue;
            }
            Err(error) => return Err(error),
        };
        let port = port_of(&listener, address)?;
        ports::change(control_ports, map::CONTROL_PORTS, port, true)?;
        let tested = session(listener, address, pinholes, count, mask);
        ports::change(control_ports, map::CONTROL_PORTS, port, false)?;
        match tested {
            // "No IPv6 here" is usually a policy without a rule for loopback. IPv4 has shown by now that
            // the kernel half sees what it should.
            Err(SelfTestError::Session {
                what: CONNECT,
                source,
                ..
            }) if address.is_ipv6() => tracing::warn!(
                error = %source,
                "self-test: cannot connect on {address}, so IPv6 is guarded untested: does the \
                 firewall drop what comes in by loopback (`ip6tables -I INPUT -i lo -j ACCEPT`)?"
            ),
            tested => tested?,
        }
    }
    Ok(())
}

fn session(
    control: Socket,
    address: IpAddr,
    pinholes: &HashMap<MapData, PinholeKey, Pinhole>,
    count: &Older,
    mask: &ClientMask,
) -> Result<(), SelfTestError> {
    control.listen(8).map_err(failed("listen", address))?;
    let control: TcpListener = control.into();
    let at = control
        .local_addr()
        .map_err(failed("find the port that listens", address))?;
    let (client, server) = connect(&control, at)?;
    if !goes(|| count.has_seen_one().map(|seen| !seen))? {
        return Err(SelfTestError::NotCounted { address: at });
    }

    let waits = |at: SocketAddr| {
        let key = PinholeKey {
            client: mask.apply(address.into()),
            server: address.into(),
            port_be: at.port().to_be(),
            zero: 0,
        };
        match pinholes.get(&key, 0) {
            Ok(_) => Ok(true),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(source) => Err(ObjectError::of_map(map::PINHOLES)(source)),
        }
    };
    let (data, at) = listen(address)?;
    if !waits(at)? {
        return Err(SelfTestError::NoPinhole { address: at });
    }
    drop(connect(&data, at)?);
    if !goes(|| waits(at))? {
        return Err(SelfTestError::Stays {
            address: at,
            when: "its connection came",
        });
    }
    drop(data);
    let (data, at) = listen(address)?;
    if !waits(at)? {
        return Err(SelfTestError::NoPinhole { address: at });
    }
    drop(data);
    if !goes(|| waits(at))? {
        return Err(SelfTestError::Stays {
            address: at,
            when: "its listener closed",
        });
    }
    drop((client, server));
    Ok(())
}

/// Waits until that is so no more. A connection can be accepted a moment before its socket's
/// state has changed.
fn goes(mut waits: impl FnMut() -> Result<bool, ObjectError>) -> Result<bool, ObjectError> {
    let deadline = Instant::now() + PATIENCE;
    while waits()? {
        if Instant::now() > deadline {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(true)
}

/// A port that no earlier guard's lock shuts, and that no data port is tested on.
fn bind(address: IpAddr, shut: Option<&PortSet>) -> Result<Socket, SelfTestError> {
    let mut refused = Vec::new();
    for _ in 0..OFFERS {
        let domain = Domain::for_address(SocketAddr::new(address, 0));
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))
            .map_err(failed("make a socket", address))?;
        let any = SocketAddr::new(address, 0).into();
        socket.bind(&any).map_err(failed("bind", address))?;
        let port = port_of(&socket, address)?;
        if !shut.is_some_and(|shut| shut.contains(port)) {
            return Ok(socket);
        }
        refused.push(socket);
    }
    Err(SelfTestError::NoPort)
}

fn port_of(socket: &Socket, address: IpAddr) -> Result<u16, SelfTestError> {
    let bound = socket
        .local_addr()
        .map_err(failed("find the port that is bound", address))?;
    Ok(bound.as_socket().map_or(0, |bound| bound.port()))
}

fn listen(address: IpAddr) -> Result<(TcpListener, SocketAddr), SelfTestError> {
    let listener =
        TcpListener::bind(SocketAddr::new(address, 0)).map_err(failed("listen", address))?;
    let at = listener
        .local_addr()
        .map_err(failed("find the port that listens", address))?;
    Ok((listener, at))
}

fn connect(
    listener: &TcpListener,
    at: SocketAddr,
) -> Result<(TcpStream, TcpStream), SelfTestError> {
    let client = TcpStream::connect_timeout(&at, PATIENCE).map_err(failed(CONNECT, at.ip()))?;
    // Its handshake is complete: it waits.
    let (server, _) = listener.accept().map_err(failed("accept", at.ip()))?;
    Ok((client, server))
}

fn failed(what: &'static str, address: IpAddr) -> impl FnOnce(io::Error) -> SelfTestError {
    move |source| SelfTestError::Session {
        what,
        address,
        source,
    }
}
