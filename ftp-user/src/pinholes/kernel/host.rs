//! What the host is like: its interfaces and addresses, whether it forwards. Read from the kernel
//! by rtnetlink and `/proc/sys`, of the network namespace that the daemon runs in.

use std::{collections::HashSet, fs, io, net::IpAddr, path::Path};

use ftp_ebpf::packet::LinkLayer;
use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::{
    address::{AddressAttribute, AddressMessage},
    link::{
        InfoData, InfoGre, InfoKind, InfoPortKind, LinkAttribute, LinkFlags, LinkInfo,
        LinkLayerType, LinkMessage, LinkXdp,
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
    /// What its packets begin with.
    pub(super) layer: Layer,
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

/// What an interface's packets begin with when a lock sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    /// A header that can be read.
    Known(LinkLayer),
    /// What a tunnel has left in front of the IP header: that of the packet around it, or the Ethernet
    /// header of the interface by which that came.
    Outer,
    /// Something else; perhaps not even IP.
    Unknown,
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
                if leaves_outer_headers(&infos) {
                    link.layer = Layer::Outer;
                }
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
fn layer(kind: LinkLayerType) -> Layer {
    match kind {
        LinkLayerType::Ether | LinkLayerType::Loopback => Layer::Known(LinkLayer::Ethernet),
        // Tunnels, WireGuard, tun, PPP, virtual networks of containers (venet).
        LinkLayerType::None
        | LinkLayerType::Ppp
        | LinkLayerType::Rawip
        | LinkLayerType::Tunnel
        | LinkLayerType::Tunnel6
        | LinkLayerType::Sit
        | LinkLayerType::Ipgre
        | LinkLayerType::Ip6gre
        | LinkLayerType::Void => Layer::Known(LinkLayer::None),
        _ => Layer::Unknown,
    }
}

/// Whether an interface is a tunnel whose packets traffic control is not given from their IP header on:
/// those of IPsec keep the Ethernet header of the packet around them (net/xfrm/xfrm_input.c,
/// net/ipv4/xfrm4_input.c), those of GRE without one certain other end all its headers
/// (net/ipv4/ip_gre.c, `ipgre_header_ops`).
fn leaves_outer_headers(infos: &[LinkInfo]) -> bool {
    let mut options: &[InfoGre] = &[];
    let mut is_gre = false;
    for info in infos {
        match info {
            LinkInfo::Kind(InfoKind::Xfrm | InfoKind::Vti | InfoKind::Vti6) => return true,
            LinkInfo::Kind(InfoKind::GreTun) => is_gre = true,
            LinkInfo::Data(InfoData::GreTun(told)) => options = told,
            _ => {}
        }
    }
    let is_certain = options.iter().any(|option| match option {
        InfoGre::Remote(remote) => !remote.is_unspecified() && !remote.is_multicast(),
        // Each packet brings its own.
        InfoGre::CollectMetadata => true,
        _ => false,
    });
    is_gre && !is_certain
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tunnels_that_hide_the_ip_header_are_told_from_others() {
        let layer_of = |infos| {
            let mut message = LinkMessage::default();
            message.header.link_layer_type = LinkLayerType::Ipgre;
            message.attributes.push(LinkAttribute::LinkInfo(infos));
            read_link(message, &[]).layer
        };
        let ip = Layer::Known(LinkLayer::None);
        let kind = |kind| layer_of(vec![LinkInfo::Kind(kind)]);
        for hidden in [InfoKind::Xfrm, InfoKind::Vti, InfoKind::Vti6] {
            assert_eq!(kind(hidden), Layer::Outer);
        }
        for plain in [InfoKind::Wireguard, InfoKind::Tun, InfoKind::GreTun6] {
            assert_eq!(kind(plain), ip);
        }
        let gre = |options| {
            layer_of(vec![
                LinkInfo::Kind(InfoKind::GreTun),
                LinkInfo::Data(InfoData::GreTun(options)),
            ])
        };
        let remote = |address: [u8; 4]| InfoGre::Remote(address.into());
        assert_eq!(gre(vec![remote([192, 0, 2, 1])]), ip);
        assert_eq!(gre(vec![remote([0; 4]), InfoGre::CollectMetadata]), ip);
        assert_eq!(gre(vec![remote([0; 4])]), Layer::Outer);
        assert_eq!(gre(vec![remote([239, 1, 1, 1])]), Layer::Outer);
        assert_eq!(gre(vec![]), Layer::Outer);
    }
}
