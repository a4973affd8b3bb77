//! The address that PASV names, where clients do not see the host's own (NAT).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::{Network, Passive};

/// An address for a 227.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicAddress {
    /// The control connection's own.
    Own,
    /// This one.
    Fixed(Ipv4Addr),
    /// The one that this host name has at the time.
    Host(String),
}

/// Which address clients of a network are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForNetwork {
    /// Clients from there,
    pub network: Network,
    /// are told this.
    pub address: PublicAddress,
}

impl Passive {
    /// What `client` is told: by the smallest network that it is in, else what everybody is.
    pub fn public_address(&self, client: IpAddr) -> &PublicAddress {
        let around = |own: &&ForNetwork| own.network.contains(client);
        let smallest = self.addresses.iter().filter(around);
        let smallest = smallest.max_by_key(|own| own.network.prefix_len());
        smallest.map_or(&self.address, |own| &own.address)
    }

    /// The host names among the addresses.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        let own = self.addresses.iter().map(|own| &own.address);
        std::iter::once(&self.address)
            .chain(own)
            .filter_map(|address| match address {
                PublicAddress::Host(name) => Some(&name[..]),
                PublicAddress::Own | PublicAddress::Fixed(_) => None,
            })
    }
}

impl FromStr for PublicAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<PublicAddress, String> {
        if text == "own" {
            return Ok(PublicAddress::Own);
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            if address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
                return Err(format!("no client can connect to {address}"));
            }
            return Ok(PublicAddress::Fixed(address));
        }
        // RFC 1123 §2.1. All digits and dots was meant for an address.
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let numeric = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if numeric || text.len() > 253 || !text.split('.').all(label) {
            return Err(format!(
                "\"{text}\" is neither an IPv4 address such as \"203.0.113.7\" nor a host name, nor \
                 \"own\" (EPSV needs none for IPv6)"
            ));
        }
        Ok(PublicAddress::Host(text.to_owned()))
    }
}

impl fmt::Display for PublicAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublicAddress::Own => f.write_str("own"),
            PublicAddress::Fixed(address) => write!(f, "{address}"),
            PublicAddress::Host(name) => f.write_str(name),
        }
    }
}

impl Serialize for PublicAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_smallest_network_decides() {
        let mut passive = Config::default().passive;
        passive.address = "ftp.example.org".parse().unwrap();
        let own = [("10.0.0.0/8", "10.9.9.9"), ("10.1.0.0/16", "own")];
        passive.addresses = own
            .map(|(network, address)| ForNetwork {
                network: network.parse().unwrap(),
                address: address.parse().unwrap(),
            })
            .to_vec();
        let told = |client: &str| passive.public_address(client.parse().unwrap()).to_string();
        assert_eq!(told("10.2.0.1"), "10.9.9.9");
        assert_eq!(told("10.1.0.1"), "own");
        assert_eq!(told("192.0.2.1"), "ftp.example.org");
        assert_eq!(passive.hosts().collect::<Vec<_>>(), ["ftp.example.org"]);
    }

    #[test]
    fn what_is_neither_is_refused() {
        for wrong in [
            "",
            "1.2.3",
            "1.2.3.4.5",
            "a_b",
            "-a.b",
            "a..b",
            "::1",
            "0.0.0.0",
            "224.0.0.1",
        ] {
            assert!(wrong.parse::<PublicAddress>().is_err(), "{wrong}");
        }
        assert_eq!("own".parse(), Ok(PublicAddress::Own));
    }
}
