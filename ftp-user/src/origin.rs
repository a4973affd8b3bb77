//! Whom a client's address stands for, where clients are counted or made to wait. Nothing else of
//! addresses: which ones may connect is the business of those who know why.

use std::net::{IpAddr, Ipv6Addr};

/// The first address of those that the host behind `client` can take as it likes: an IPv6 host has a
/// /64 of them to choose from (RFC 4291 section 2.5.1), an IPv4 host has its own.
pub fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_host_is_all_of_its_64() {
        for (client, stands_for) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("::1", "::"),
        ] {
            let client = client.parse().unwrap();
            assert_eq!(network(client), stands_for.parse::<IpAddr>().unwrap());
        }
    }
}
