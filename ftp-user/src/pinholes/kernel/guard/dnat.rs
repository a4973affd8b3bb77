//! Whether this host hands control connections on to another: the rules of nftables, and of
//! iptables above it, that translate a packet's destination. Such packets pass a lock here
//! untouched, because the server's sockets are elsewhere. For a warning only: what cannot be read
//! is left out.

use std::{fs, io};

use rtnetlink::{
    packet_core::{
        NLA_HEADER_SIZE, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
        NlasIterator, parse_u16, parse_u16_be, parse_u32_be,
    },
    sys::{self as netlink, Socket, protocols::NETLINK_NETFILTER},
};

use crate::config::PortSet;

/// nfnetlink's messages of nf_tables (include/uapi/linux/netfilter/nfnetlink.h).
const NFNL_SUBSYS_NFTABLES: u16 = 10 << 8;
const NFT_MSG_NEWRULE: u16 = NFNL_SUBSYS_NFTABLES | 6;
const NFT_MSG_GETRULE: u16 = NFNL_SUBSYS_NFTABLES | 7;
/// Family, version, resource id.
const NFGENMSG_LEN: usize = 4;
const HEADER_LEN: usize = 16;

/// Attributes (include/uapi/linux/netfilter/nf_tables.h, nf_tables_compat.h).
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_NAT_TYPE: u16 = 1;
const NFT_NAT_DNAT: u32 = 1;
/// Of a match and of a target of iptables.
const NFTA_XT_NAME: u16 = 1;
const NFTA_MATCH_INFO: u16 = 3;

/// A rule that may hand a control connection on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// Where it is, for people.
    pub(super) place: String,
    /// It names a control port; another one names no port at all, or its ports are not told.
    pub(super) certain: bool,
}

/// The rule that is most likely to, in the network namespace of this thread.
pub(super) fn find(control_ports: &PortSet) -> Option<Rule> {
    let mut rules = match rules() {
        Ok(messages) => messages
            .iter()
            .filter_map(|message| read_rule(message, control_ports))
            .collect(),
        // A kernel without nf_tables, or no permission.
        Err(error) => {
            tracing::debug!(%error, "cannot list the rules of nftables");
            Vec::new()
        }
    };
    // The older kind of iptables does not tell its rules so easily.
    let old = fs::read_to_string("/proc/thread-self/net/ip_tables_names").unwrap_or_default();
    if old.lines().any(|table| table == "nat") {
        rules.push(Rule {
            place: "iptables-legacy's table nat".to_owned(),
            certain: false,
        });
    }
    rules.sort_by_key(|rule| !rule.certain);
    rules.into_iter().next()
}

/// The payload of every message about a rule, behind its nfgenmsg.
fn rules() -> io::Result<Vec<Vec<u8>>> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&netlink::SocketAddr::new(0, 0))?;
    let mut request = [0; HEADER_LEN + NFGENMSG_LEN];
    let mut header = NetlinkBuffer::new(&mut request);
    header.set_length((HEADER_LEN + NFGENMSG_LEN) as u32);
    header.set_message_type(NFT_MSG_GETRULE);
    header.set_flags(NLM_F_REQUEST | NLM_F_DUMP);
    socket.send(&request, 0)?;
    let mut rules = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = &datagram[..];
        while let Ok(message) = NetlinkBuffer::new_checked(rest) {
            match message.message_type() {
                NLMSG_DONE => return Ok(rules),
                NLMSG_ERROR => return Err(io::Error::other("nf_tables refuses")),
                NFT_MSG_NEWRULE => {
                    rules.extend(message.payload().get(NFGENMSG_LEN..).map(Vec::from));
                }
                _ => {}
            }
            // Messages are aligned to four bytes.
            let len = (message.length() as usize).next_multiple_of(4);
            rest = rest.get(len..).unwrap_or_default();
        }
    }
}

/// The rule, if it translates destinations and may be about a control port.
fn read_rule(attributes: &[u8], control_ports: &PortSet) -> Option<Rule> {
    let text = |kind| find_attribute(attributes, kind).map(text_of);
    let mut translates = false;
    let mut ports = Vec::new();
    for element in NlasIterator::new(find_attribute(attributes, NFTA_RULE_EXPRESSIONS)?).flatten() {
        let name = find_attribute(element.value(), NFTA_EXPR_NAME).map(text_of);
        let data = find_attribute(element.value(), NFTA_EXPR_DATA).unwrap_or_default();
        match name.as_deref() {
            Some("nat") => {
                let kind = find_attribute(data, NFTA_NAT_TYPE);
                translates |= kind.and_then(|kind| parse_u32_be(kind).ok()) == Some(NFT_NAT_DNAT);
            }
            Some("target") => {
                let name = find_attribute(data, NFTA_XT_NAME).map(text_of);
                translates |= name.as_deref() == Some("DNAT");
            }
            // Two bytes that something is compared with: a port, or a protocol of Ethernet.
            Some("cmp") => {
                let value = find_attribute(data, NFTA_CMP_DATA)
                    .and_then(|data| find_attribute(data, NFTA_DATA_VALUE));
                let port = value.filter(|value| value.len() == 2).map(parse_u16_be);
                ports.extend(port.into_iter().flatten().map(|port| (port, port)));
            }
            Some("match") => ports.extend(xt_destination_ports(data)),
            Some(_) | None => {}
        }
    }
    if !translates {
        return None;
    }
    let certain = ports.iter().any(|(first, last)| {
        control_ports
            .iter()
            .any(|port| (first..=last).contains(&&port))
    });
    (certain || ports.is_empty()).then(|| Rule {
        place: format!(
            "table {}, chain {}",
            text(NFTA_RULE_TABLE).unwrap_or_default(),
            text(NFTA_RULE_CHAIN).unwrap_or_default()
        ),
        certain,
    })
}

/// First and last destination port of iptables' `-p tcp --dport` (`struct xt_tcp` in
/// include/uapi/linux/netfilter/xt_tcpudp.h: the source ports are before them).
fn xt_destination_ports(of_match: &[u8]) -> Option<(u16, u16)> {
    if text_of(find_attribute(of_match, NFTA_XT_NAME)?) != "tcp" {
        return None;
    }
    let info = find_attribute(of_match, NFTA_MATCH_INFO)?;
    let port = |at: usize| parse_u16(info.get(at..at + 2)?).ok();
    Some((port(4)?, port(6)?))
}

fn find_attribute(among: &[u8], kind: u16) -> Option<&[u8]> {
    NlasIterator::new(among)
        .flatten()
        .find(|attribute| attribute.kind() == kind)
        .and_then(|attribute| {
            let end = usize::from(attribute.length());
            attribute.into_inner().get(NLA_HEADER_SIZE..end)
        })
}

/// Without the zero at its end.
fn text_of(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let len = u16::try_from(value.len() + 4).unwrap();
        let mut bytes = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn expression(name: &str, data: &[u8]) -> Vec<u8> {
        let name = attribute(NFTA_EXPR_NAME, format!("{name}\0").as_bytes());
        attribute(1, &[name, attribute(NFTA_EXPR_DATA, data)].concat())
    }

    fn rule(expressions: &[Vec<u8>]) -> Option<Rule> {
        let bytes = [
            attribute(NFTA_RULE_TABLE, b"nat\0"),
            attribute(NFTA_RULE_CHAIN, b"DOCKER\0"),
            attribute(NFTA_RULE_EXPRESSIONS, &expressions.concat()),
        ];
        read_rule(&bytes.concat(), &"21,990".parse().unwrap())
    }

    fn cmp(value: &[u8]) -> Vec<u8> {
        let value = attribute(NFTA_DATA_VALUE, value);
        expression("cmp", &attribute(NFTA_CMP_DATA, &value))
    }

    fn nat(kind: u32) -> Vec<u8> {
        expression("nat", &attribute(NFTA_NAT_TYPE, &kind.to_be_bytes()))
    }

    #[test]
    fn a_rule_of_nftables_counts_by_the_port_it_names() {
        let found = rule(&[cmp(&[6]), cmp(&21_u16.to_be_bytes()), nat(NFT_NAT_DNAT)]);
        let expected = Rule {
            place: "table nat, chain DOCKER".to_owned(),
            certain: true,
        };
        assert_eq!(found, Some(expected));
        assert_eq!(rule(&[cmp(&80_u16.to_be_bytes()), nat(NFT_NAT_DNAT)]), None);
        assert_eq!(rule(&[cmp(&21_u16.to_be_bytes()), nat(0)]), None, "SNAT");
        let of_all = rule(&[cmp(&[6]), nat(NFT_NAT_DNAT)]);
        assert_eq!(of_all.map(|rule| rule.certain), Some(false));
    }

    #[test]
    fn a_rule_of_iptables_counts_by_the_ports_it_names() {
        let target = expression("target", &attribute(NFTA_XT_NAME, b"DNAT\0"));
        let tcp = |first: u16, last: u16| {
            let ports = [0, u16::MAX, first, last].map(u16::to_ne_bytes).concat();
            let name = attribute(NFTA_XT_NAME, b"tcp\0");
            expression(
                "match",
                &[name, attribute(NFTA_MATCH_INFO, &ports)].concat(),
            )
        };
        let found = rule(&[tcp(900, 999), target.clone()]);
        assert_eq!(found.map(|rule| rule.certain), Some(true));
        assert_eq!(rule(&[tcp(80, 80), target]), None);
    }

    #[test]
    fn what_is_no_rule_is_left_out() {
        assert_eq!(read_rule(&[], &"21".parse().unwrap()), None);
        assert_eq!(read_rule(&[9, 0, 4, 0, 1], &"21".parse().unwrap()), None);
        assert_eq!(rule(&[vec![3, 0, 1, 0]]), None);
    }
}
