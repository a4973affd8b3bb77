//! Addresses as PORT, EPRT, PASV and EPSV have them.

use std::net::{Ipv4Addr, SocketAddr};

use crate::lab::Family;

/// The argument of PORT for `address`.
pub fn port_argument(address: Ipv4Addr, port: u16) -> String {
    let [a, b, c, d] = address.octets();
    format!("{a},{b},{c},{d},{},{}", port >> 8, port & 0xff)
}

/// The argument of EPRT for `address` (RFC 2428, section 2).
pub fn eprt_argument(address: SocketAddr) -> String {
    let family = match Family::of(address.ip()) {
        Family::V4 => 1,
        Family::V6 => 2,
    };
    format!("|{family}|{}|{}|", address.ip(), address.port())
}

pub(super) fn parse_227(text: &str) -> Option<SocketAddr> {
    let inside = text.split_once('(')?.1.split_once(')')?.0;
    let numbers: Vec<u8> = inside
        .split(',')
        .map(|number| number.trim().parse().ok())
        .collect::<Option<_>>()?;
    let [a, b, c, d, high, low] = numbers[..] else {
        return None;
    };
    let port = u16::from_be_bytes([high, low]);
    Some((Ipv4Addr::new(a, b, c, d), port).into())
}

pub(super) fn parse_229(text: &str) -> Option<u16> {
    text.split_once("(|||")?.1.split_once("|)")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passive_replies_are_read() {
        assert_eq!(
            parse_227("227 Entering Passive Mode (10,77,0,1,117,49).").map(|a| a.to_string()),
            Some("10.77.0.1:30001".to_owned())
        );
        assert_eq!(parse_227("227 =10,77,0,1,117,49"), None);
        assert_eq!(parse_229("229 Extended (|||30001|)"), Some(30001));
    }

    #[test]
    fn active_arguments_are_written() {
        assert_eq!(
            port_argument(Ipv4Addr::new(10, 77, 0, 2), 40001),
            "10,77,0,2,156,65"
        );
        assert_eq!(
            eprt_argument("[fd77::2]:40001".parse().unwrap()),
            "|2|fd77::2|40001|"
        );
    }
}
