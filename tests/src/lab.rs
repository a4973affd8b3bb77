//! The network of a test: a client host and a server host over a veth pair, and what a scenario
//! asks for beside them.
//!
//! ```text
//!   client ── c0 ─────── s0 ── server ── s1 ─────── t0 ── third (a stranger's host)
//!   10.77.0.2…  fd77::2…   10.77.0.1 fd77::1  └── g1 ── g0 ── guest (masqueraded behind server)
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use crate::{frame::Mac, namespace::NetNs, wire::Wire};

const CLIENT_MAC: Mac = [2, 0, 0, 0, 0, 0x0c];
const SERVER_MAC: Mac = [2, 0, 0, 0, 0, 0x05];

/// The stranger's address, on another network of the server.
pub const THIRD4: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 2);
/// The masqueraded guest's address.
pub const GUEST4: Ipv4Addr = Ipv4Addr::new(10, 79, 0, 2);

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Family {
    /// Both families.
    pub const BOTH: [Family; 2] = [Family::V4, Family::V6];

    /// The family of `address`.
    pub fn of(address: IpAddr) -> Family {
        match address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }
}

/// What a scenario wants of its network.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Addresses of the client host, in each family.
    pub clients: u16,
    /// A third host, on another interface of the server.
    pub third: bool,
    /// The server forwards, and masquerades a guest host behind it.
    pub guest: bool,
    /// Segmentation offload on the veth pair; without it every segment is a frame of its own.
    pub offload: bool,
    /// The largest packet on the veth pair; 1500 bytes where it is not said.
    pub mtu: Option<u16>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            clients: 2,
            third: false,
            guest: false,
            offload: true,
            mtu: None,
        }
    }
}

/// Namespaces, connected. Dropping it takes the network down.
#[derive(Debug)]
pub struct Lab {
    /// The client host.
    pub client: NetNs,
    /// The server host.
    pub server: NetNs,
    /// The stranger's host, if asked for.
    pub third: Option<NetNs>,
    /// The guest behind the server, if asked for.
    pub guest: Option<NetNs>,
}

impl Lab {
    /// Client and server, with two addresses of each family at the client.
    pub fn new() -> Result<Lab> {
        Lab::with(Options::default())
    }

    /// What `options` asks for.
    pub fn with(options: Options) -> Result<Lab> {
        let client = NetNs::new("client")?;
        let server = NetNs::new("server")?;
        connect(&server, "s0", SERVER_MAC, &client, "c0", CLIENT_MAC)?;
        let both = |address: fn(Family, u16) -> IpAddr, n| {
            [(address(Family::V4, n), 16), (address(Family::V6, n), 64)]
        };
        server.add_addresses("s0", &both(|family, _| server_address(family), 0))?;
        let addresses: Vec<_> = (0..options.clients)
            .flat_map(|n| both(client_address, n))
            .collect();
        client.add_addresses("c0", &addresses)?;
        if let Some(mtu) = options.mtu {
            server.ip(&format!("link set s0 mtu {mtu}\n"))?;
            client.ip(&format!("link set c0 mtu {mtu}\n"))?;
        }
        if !options.offload {
            server.ip("link set s0 gso_max_segs 1\n")?;
            client.ip("link set c0 gso_max_segs 1\n")?;
        }
        let third = options.third.then(|| add_third(&server)).transpose()?;
        let guest = options
            .guest
            .then(|| add_guest(&server, &client))
            .transpose()?;
        Ok(Lab {
            client,
            server,
            third,
            guest,
        })
    }

    /// Raw frames from the client host's interface to the server's.
    pub fn client_wire(&self) -> Result<Wire> {
        Wire::open(&self.client, "c0", CLIENT_MAC, SERVER_MAC)
    }

    /// Tells the server that `address` lives at the client's interface, so that frames with that
    /// source are answered there though no host owns it (and no kernel there resets the answer).
    pub fn add_phantom(&self, address: IpAddr) -> Result<()> {
        let mac = text(CLIENT_MAC);
        self.server.ip(&format!(
            "neigh replace {address} lladdr {mac} dev s0 nud permanent\n"
        ))
    }
}

/// The server's address.
pub fn server_address(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 77, 0, 1).into(),
        Family::V6 => Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1).into(),
    }
}

/// The client host's address number `n`, from 0.
pub fn client_address(family: Family, n: u16) -> IpAddr {
    let host = n + 2;
    match family {
        Family::V4 => {
            let [high, low] = host.to_be_bytes();
            Ipv4Addr::new(10, 77, high, low).into()
        }
        Family::V6 => Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, host).into(),
    }
}

/// An address of the client's network that no host owns; see [`Lab::add_phantom`].
pub fn phantom_address(family: Family, n: u16) -> IpAddr {
    client_address(family, 0x8000 + n)
}

fn connect(
    here: &NetNs,
    here_if: &str,
    here_mac: Mac,
    there: &NetNs,
    there_if: &str,
    there_mac: Mac,
) -> Result<()> {
    let (near, far) = (text(here_mac), text(there_mac));
    here.ip(&format!(
        "link add {here_if} address {near} type veth \
         peer name {there_if} address {far} netns {}\n\
         link set {here_if} addrgenmode none up\n",
        there.path()
    ))?;
    there.ip(&format!("link set {there_if} addrgenmode none up\n"))
}

fn add_third(server: &NetNs) -> Result<NetNs> {
    let third = NetNs::new("third")?;
    connect(
        server,
        "s1",
        [2, 0, 0, 0, 1, 5],
        &third,
        "t0",
        [2, 0, 0, 0, 1, 3],
    )?;
    server.add_addresses(
        "s1",
        &[
            (Ipv4Addr::new(10, 78, 0, 1).into(), 24),
            (Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, 1).into(), 64),
        ],
    )?;
    third.add_addresses(
        "t0",
        &[
            (THIRD4.into(), 24),
            (Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, 2).into(), 64),
        ],
    )?;
    third.ip("route add default via 10.78.0.1\nroute add default via fd78::1\n")?;
    Ok(third)
}

fn add_guest(server: &NetNs, client: &NetNs) -> Result<NetNs> {
    let guest = NetNs::new("guest")?;
    connect(
        server,
        "g1",
        [2, 0, 0, 0, 2, 5],
        &guest,
        "g0",
        [2, 0, 0, 0, 2, 6],
    )?;
    server.ip("addr add 10.79.0.1/24 dev g1\n")?;
    guest.ip(&format!(
        "addr add {GUEST4}/24 dev g0\nroute add default via 10.79.0.1\n"
    ))?;
    client.ip(&format!(
        "route add {GUEST4}/32 via {}\n",
        server_address(Family::V4)
    ))?;
    server.sysctl("net/ipv4/ip_forward", "1")?;
    server.nft(
        "table ip lab {\n chain out {\n  type nat hook postrouting priority srcnat;\n  \
         ip saddr 10.79.0.0/24 oifname \"s0\" masquerade\n }\n}\n",
    )?;
    Ok(guest)
}

fn text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
