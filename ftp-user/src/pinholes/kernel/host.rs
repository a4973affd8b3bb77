//! What the host is like: its interfaces and addresses, whether it forwards. Read from the kernel
//! by rtnetlink and `/proc/sys`, of the network namespace that the daemon runs in.

use std::{collections::HashSet, fs, io, net::IpAddr, path::Path};

use ftp_ebpf::packet::LinkLayer;
use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::{
    address::{AddressAttribute, AddressMessage},
    link::{
        InfoKind, InfoPortKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
        LinkXdp,
    },
};

use crate::config::PortSet;

/// A network interface.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// Its number in this namespace.
    pub(super) index: u32,
    /// Its name.
    pub(super) name: String,
    /// What its packets begin with; none: with something that cannot be read.
    pub(super) layer: Option<LinkLayer>,
    /// It is the loopback interface.
    pub(super) loopback: bool,
    /// It is up.
    pub(super) up: bool,
    /// The kind of software interface: `veth`, `bridge`, …; none for hardware and virtio.
    pub(super) kind: Option<String>,
    /// It is a port of a bridge, so that it carries frames for others than this host.
    pub(super) bridge_port: bool,
    /// It is a part of another interface, by which its packets come in: a bridge, a bond, a team.
    pub(super) part: bool,
    /// Number of the XDP program that is attached to it.
    pub(super) xdp_program: Option<u32>,
    /// Its own addresses.
    pub(super) addresses: Vec<IpAddr>,
}

/// What could not be learnt.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// No netlink socket, or nobody to answer it.
    #[error("cannot open a netlink socket")]
    Socket(#[source] io::Error),
    /// The kernel refused to list something.
    #[error("cannot list the host's {what} by netlink")]
    List {
        /// Interfaces or addresses.
        what: &'static str,
        /// rtnetlink's account.
        source: Box<rtnetlink::Error>,
    },
    /// A setting could not be read.
    #[error("cannot read {path}")]
    Setting {
        /// The file.
        path: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Every interface, with its addresses.
pub(super) async fn links() -> Result<Vec<Link>, HostError> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(HostError::Socket)?;
    let connection = tokio::spawn(connection);
    let list = |what| {
        move |source| HostError::List {
            what,
            source: Box::new(source),
        }
    };
    let links: Vec<LinkMessage> = handle
        .link()
        .get()
        .execute()
        .try_collect()
        .await
        .map_err(list("interfaces"))?;
    let addresses: Vec<AddressMessage> = handle
        .address()
        .get()
        .execute()
        .try_collect()
        .await
        .map_err(list("addresses"))?;
    connection.abort();
    Ok(links
        .into_iter()
        .map(|link| read_link(link, &addresses))
        .collect())
}

/// The host's own addresses, of all interfaces.
pub(super) fn addresses(links: &[Link]) -> HashSet<IpAddr> {
    links
        .iter()
        .flat_map(|link| link.addresses.iter().copied())
        .collect()
}

/// Whether the host forwards packets between interfaces, for either protocol.
pub(super) fn forwards() -> Result<bool, HostError> {
    let any = |family: &str| {
        let conf = Path::new("/proc/sys/net").join(family).join("conf");
        match any_interface_forwards(&conf) {
            // A kernel without IPv6 has no such settings, and forwards nothing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(HostError::Setting {
                path: conf.display().to_string(),
                source,
            }),
            Ok(forwards) => Ok(forwards),
        }
    };
    Ok(any("ipv4")? || any("ipv6")?)
}

/// The ports that the kernel chooses from for this host's own connections (both protocols').
pub(super) fn ephemeral_ports() -> Option<PortSet> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = range.split_whitespace().map(str::parse);
    PortSet::range(ends.next()?.ok()?..=ends.next()?.ok()?)
}

fn any_interface_forwards(conf: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(conf)? {
        let entry = entry?;
        // Only what interfaces made later will start with.
        if entry.file_name() == "default" {
            continue;
        }
        match fs::read_to_string(entry.path().join("forwarding")) {
            Ok(setting) if setting.trim() != "0" => return Ok(true),
            Ok(_) => {}
            // An interface may go away meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn read_link(message: LinkMessage, addresses: &[AddressMessage]) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        layer: layer(message.header.link_layer_type),
        loopback: message.header.link_layer_type == LinkLayerType::Loopback,
        up: message.header.flags.contains(LinkFlags::Up),
        kind: None,
        bridge_port: false,
        part: false,
        xdp_program: None,
        addresses: addresses
            .iter()
            .filter(|address| address.header.index == message.header.index)
            .filter_map(own_address)
            .collect(),
    };
    let mut routed = false;
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Controller(index) => link.part = index != 0,
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) => link.kind = Some(kind_name(&kind)),
                        LinkInfo::PortKind(kind) => {
                            link.bridge_port = kind == InfoPortKind::Bridge;
                            routed = kind == InfoPortKind::Vrf;
                        }
                        _ => {}
                    }
                }
            }
            LinkAttribute::Xdp(xdp) => {
                link.xdp_program = xdp.into_iter().find_map(|xdp| match xdp {
                    LinkXdp::ProgId(id) if id != 0 => Some(id),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    link.part &= !routed;
    link
}

/// What packets of a type of interface (include/uapi/linux/if_arp.h) begin with when they come in.
fn layer(kind: LinkLayerType) -> Option<LinkLayer> {
    match kind {
        LinkLayerType::Ether | LinkLayerType::Loopback => Some(LinkLayer::Ethernet),
        // Tunnels, WireGuard, tun, PPP, virtual networks of containers (venet).
        LinkLayerType::None
        | LinkLayerType::Ppp
        | LinkLayerType::Rawip
        | LinkLayerType::Tunnel
        | LinkLayerType::Tunnel6
        | LinkLayerType::Sit
        | LinkLayerType::Ipgre
        | LinkLayerType::Ip6gre
        | LinkLayerType::Void => Some(LinkLayer::None),
        _ => None,
    }
}

fn kind_name(kind: &InfoKind) -> String {
    kind.to_string()
}

/// The interface's end of a point-to-point link is "local"; elsewhere there is only "address".
fn own_address(message: &AddressMessage) -> Option<IpAddr> {
    let find = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| {
        message.attributes.iter().find_map(wanted)
    };
    find(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    })
    .or_else(|| {
        find(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}
