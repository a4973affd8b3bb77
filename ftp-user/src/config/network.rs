//! Networks of IP addresses as admins write them: "192.0.2.0/24", "2001:db8::/32", or one address.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A network: an address and how many of its leading bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(IpNet);

impl Network {
    /// Whether `address` lies in it. An IPv4 address mapped into IPv6 is an IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// How many leading bits count.
    pub fn prefix_len(&self) -> u8 {
        self.0.prefix_len()
    }

    /// Its first address.
    pub fn address(&self) -> IpAddr {
        self.0.network()
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let wrong =
            || format!("\"{text}\" is not a network such as \"192.0.2.0/24\" or \"2001:db8::/32\"");
        let network = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address.to_canonical()),
            Err(_) => text.parse::<IpNet>().map_err(|_| wrong())?,
        };
        if network.addr() != network.network() {
            return Err(format!(
                "\"{text}\" has bits behind its prefix: did you mean \"{}\", or \"{}\"?",
                network.trunc(),
                network.addr()
            ));
        }
        Ok(Network(network))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            write!(f, "{}", self.0.addr())
        } else {
            write!(f, "{}", self.0)
        }
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Network, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn holds_its_addresses_and_no_others() {
        let net = network("192.0.2.0/24");
        assert!(net.contains("192.0.2.255".parse().unwrap()));
        assert!(net.contains("::ffff:192.0.2.1".parse().unwrap()));
        assert!(!net.contains("192.0.3.0".parse().unwrap()));
        assert!(!net.contains("2001:db8::1".parse().unwrap()));
        assert!(network("::/0").contains("::1".parse().unwrap()));
        assert!(!network("::/0").contains("127.0.0.1".parse().unwrap()));
        let one = network("2001:db8::7");
        assert!(one.contains("2001:db8::7".parse().unwrap()));
        assert!(!one.contains("2001:db8::8".parse().unwrap()));
    }

    #[test]
    fn is_written_as_it_was_read() {
        for text in [
            "192.0.2.0/24",
            "2001:db8::/32",
            "127.0.0.1",
            "::1",
            "0.0.0.0/0",
        ] {
            assert_eq!(network(text).to_string(), text);
        }
        for wrong in [
            "",
            "localhost",
            "192.0.2.1/24",
            "192.0.2.0/33",
            "192.0.2",
            "1.2.3.4/",
        ] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
