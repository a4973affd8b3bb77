//! PORT (RFC 959 §4.1.2) and EPRT (RFC 2428 §2): whom we may connect to, and connecting.
//!
//! A server that connects wherever it is told scans ports and forges connections for its clients
//! (RFC 2577 §3). A [`CheckedPeer`] is the only thing that [`connect`] takes.

use crate::config::Network;
use crate::proto::address::Family;
use crate::proto::reply::{Code, Reply};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;
use tokio::net::TcpSocket;

/// The port that RFC 959 §5.2 has a server connect from.
const FTP_DATA: u16 = 20;
/// Below this, ports are other servers' (RFC 2577 §3).
const FIRST_FREE_PORT: u16 = 1024;

/// An address that the control connection's own client asked us to connect to: its own, or one that
/// its account may have us connect to (FXP).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckedPeer(SocketAddr);

/// Why an address will not be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// Another family than the control connection's (RFC 2428 §2).
    #[error("Network protocol not supported, use ({0})")]
    OtherFamily(u8),
    /// Another host than the client.
    #[error("Data connections go to your own address only.")]
    OtherHost,
    /// A port of another service.
    #[error("Data connections go to ports from 1024 up only.")]
    LowPort,
}

impl From<PeerError> for Reply {
    fn from(error: PeerError) -> Reply {
        let code = match error {
            PeerError::OtherFamily(_) => Code::FamilyNotSupported,
            // RFC 2577 §3 suggests 504.
            PeerError::OtherHost | PeerError::LowPort => Code::ParameterNotImplemented,
        };
        Reply::new(code, error.to_string())
    }
}

impl CheckedPeer {
    /// Admits `asked` if it is an unprivileged port of `client`, the control connection's peer, or
    /// of a host in one of the networks `fxp`.
    pub fn check(
        asked: SocketAddr,
        client: SocketAddr,
        fxp: &[Network],
    ) -> Result<CheckedPeer, PeerError> {
        let (asked_ip, client_ip) = (asked.ip().to_canonical(), client.ip().to_canonical());
        if Family::of(asked_ip) != Family::of(client_ip) {
            return Err(PeerError::OtherFamily(Family::of(client_ip).number()));
        }
        let own = asked_ip == client_ip;
        if !own && !may_meet(asked_ip, fxp) {
            return Err(PeerError::OtherHost);
        }
        if asked.port() < FIRST_FREE_PORT {
            return Err(PeerError::LowPort);
        }
        if !own {
            return Ok(CheckedPeer(SocketAddr::new(asked_ip, asked.port())));
        }
        // The client's own address, so that a link-local one keeps its interface.
        let mut peer = client;
        peer.set_ip(client_ip);
        peer.set_port(asked.port());
        Ok(CheckedPeer(peer))
    }

    /// Where to.
    pub fn address(self) -> SocketAddr {
        self.0
    }
}

/// Whether an account with these networks may have us connect to `host`. A network as wide as the
/// internet does not mean this host's own services, nor those next to it (169.254.169.254): networks
/// that lie there have to be named.
fn may_meet(host: IpAddr, networks: &[Network]) -> bool {
    let local = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local(),
    };
    let somebody = !host.is_unspecified() && !host.is_multicast() && host != Ipv4Addr::BROADCAST;
    let mut networks = networks.iter();
    somebody
        && networks
            .any(|network| network.contains(host) && (!local(host) || local(network.address())))
}

/// Why no data connection came about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Port 20 needs a capability.
    #[error(
        "cannot connect from port {FTP_DATA}: {0}; grant CAP_NET_BIND_SERVICE or set \
         active.from_port_20 = false"
    )]
    BindFtpData(io::Error),
    /// The local address could not be bound.
    #[error("cannot bind the data connection to {0}: {1}")]
    Bind(IpAddr, io::Error),
    /// The client does not answer there.
    #[error("cannot connect to {0}: {1}")]
    Connect(SocketAddr, io::Error),
    /// Nor does it refuse.
    #[error("cannot connect to {0}: no answer within {seconds}s", seconds = .1.as_secs())]
    Timeout(SocketAddr, Duration),
}

/// Connects from the control connection's local address, as firewalls expect. The stream is
/// nonblocking and registered with no reactor.
pub async fn connect(
    peer: CheckedPeer,
    local: SocketAddr,
    from_port_20: bool,
    timeout: Duration,
) -> Result<TcpStream, ConnectError> {
    let mut from = local;
    from.set_ip(local.ip().to_canonical());
    from.set_port(if from_port_20 { FTP_DATA } else { 0 });
    let bind = |error: io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied if from_port_20 => ConnectError::BindFtpData(error),
        _ => ConnectError::Bind(from.ip(), error),
    };
    let socket = match peer.0 {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }
    .map_err(bind)?;
    // Port 20 serves many sessions at once, and TIME_WAIT of earlier ones.
    socket.set_reuseaddr(true).map_err(bind)?;
    socket.bind(from).map_err(bind)?;
    let failed = |error| ConnectError::Connect(peer.0, error);
    match tokio::time::timeout(timeout, socket.connect(peer.0)).await {
        Ok(connected) => connected.map_err(failed)?.into_std().map_err(failed),
        Err(_) => Err(ConnectError::Timeout(peer.0, timeout)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(asked: &str, client: &str) -> Result<CheckedPeer, PeerError> {
        CheckedPeer::check(asked.parse().unwrap(), client.parse().unwrap(), &[])
    }

    #[test]
    fn other_hosts_only_where_the_account_may() {
        let fxp = |asked: &str, networks: &[&str]| {
            let networks: Vec<Network> = networks.iter().map(|net| net.parse().unwrap()).collect();
            let client = "192.0.2.1:40000".parse().unwrap();
            CheckedPeer::check(asked.parse().unwrap(), client, &networks)
        };
        let partner = ["198.51.100.0/24"];
        let peer = fxp("198.51.100.7:2000", &partner).unwrap();
        assert_eq!(peer.address(), "198.51.100.7:2000".parse().unwrap());
        assert!(fxp("192.0.2.1:2000", &partner).is_ok());
        for (asked, error) in [
            ("198.51.100.7:20", PeerError::LowPort),
            ("198.51.101.7:2000", PeerError::OtherHost),
            ("[2001:db8::1]:2000", PeerError::OtherFamily(1)),
        ] {
            assert_eq!(fxp(asked, &partner), Err(error), "{asked}");
        }
        let anywhere = ["0.0.0.0/0", "::/0"];
        assert!(fxp("203.0.113.1:2000", &anywhere).is_ok());
        for asked in [
            "127.0.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            let refused = fxp(&format!("{asked}:2000"), &anywhere);
            assert_eq!(refused, Err(PeerError::OtherHost), "{asked}");
        }
        assert!(fxp("127.0.0.1:2000", &["127.0.0.0/8"]).is_ok());
    }

    #[test]
    fn only_the_client_and_only_unprivileged_ports() {
        assert!(check("192.0.2.1:1024", "192.0.2.1:40000").is_ok());
        assert_eq!(
            check("192.0.2.1:1023", "192.0.2.1:40000"),
            Err(PeerError::LowPort)
        );
        assert_eq!(
            check("192.0.2.1:0", "192.0.2.1:40000"),
            Err(PeerError::LowPort)
        );
        assert_eq!(
            check("192.0.2.2:2000", "192.0.2.1:40000"),
            Err(PeerError::OtherHost)
        );
        assert_eq!(
            check("[::1]:2000", "192.0.2.1:40000"),
            Err(PeerError::OtherFamily(1))
        );
        assert_eq!(
            check("192.0.2.1:2000", "[2001:db8::1]:9"),
            Err(PeerError::OtherFamily(2))
        );
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        let peer = check("192.0.2.1:2000", "[::ffff:192.0.2.1]:40000").unwrap();
        assert_eq!(peer.address(), "192.0.2.1:2000".parse().unwrap());
    }

    #[test]
    fn a_link_local_client_keeps_its_interface() {
        let client = std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 4000, 0, 7);
        let peer =
            CheckedPeer::check("[fe80::1]:2000".parse().unwrap(), client.into(), &[]).unwrap();
        assert!(matches!(peer.address(), SocketAddr::V6(v6) if v6.scope_id() == 7));
    }

    #[tokio::test]
    async fn connects_from_the_local_address() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = listener.local_addr().unwrap();
        let peer = CheckedPeer::check(client, client, &[]).unwrap();
        let local = "127.0.0.2:21".parse().unwrap();
        let stream = connect(peer, local, false, Duration::from_secs(5))
            .await
            .unwrap();
        let (_, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), local.ip());
        assert_eq!(stream.peer_addr().unwrap(), client);
    }
}
