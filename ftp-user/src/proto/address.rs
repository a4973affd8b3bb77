//! The arguments of PORT (RFC 959 §4.1.2) and EPRT (RFC 2428 §2), and the answers of PASV and
//! EPSV. Whether an address may be connected to is decided in `negotiate`.

use super::reply::Code;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};

/// An address family as RFC 2428 numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// 1
    V4,
    /// 2
    V6,
}

impl Family {
    /// The family of an (unmapped) address.
    pub fn of(address: IpAddr) -> Family {
        match address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    /// Its number in RFC 2428 §2.
    pub fn number(self) -> u8 {
        match self {
            Family::V4 => 1,
            Family::V6 => 2,
        }
    }

    /// Reads `1` or `2`; another number is a family that we do not speak.
    pub fn parse(argument: &[u8]) -> Result<Family, AddressError> {
        match argument {
            b"1" => Ok(Family::V4),
            b"2" => Ok(Family::V6),
            [_, ..] if argument.iter().all(u8::is_ascii_digit) => Err(AddressError::UnknownFamily),
            _ => Err(AddressError::Malformed),
        }
    }
}

/// Why an address argument was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not of the form that the command has.
    #[error("Malformed address.")]
    Malformed,
    /// A number that does not fit where it stands.
    #[error("A number in the address is out of range.")]
    OutOfRange,
    /// Neither 1 nor 2. Which would do, the session knows.
    #[error("Network protocol not supported")]
    UnknownFamily,
}

impl AddressError {
    /// The reply code that says so.
    pub fn code(self) -> Code {
        match self {
            AddressError::Malformed | AddressError::OutOfRange => Code::ArgumentError,
            AddressError::UnknownFamily => Code::FamilyNotSupported,
        }
    }
}

/// Reads `h1,h2,h3,h4,p1,p2`.
pub fn parse_port(argument: &[u8]) -> Result<SocketAddrV4, AddressError> {
    let mut bytes = [0u8; 6];
    let mut fields = argument.split(|&b| b == b',');
    for byte in &mut bytes {
        *byte = decimal(fields.next().ok_or(AddressError::Malformed)?)?;
    }
    if fields.next().is_some() {
        return Err(AddressError::Malformed);
    }
    let [a, b, c, d, high, low] = bytes;
    let port = u16::from_be_bytes([high, low]);
    Ok(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), port))
}

/// Reads `|1|132.235.1.2|6275|` or `|2|1080::8:800:200C:417A|5282|`, with any printable delimiter.
pub fn parse_eprt(argument: &[u8]) -> Result<SocketAddr, AddressError> {
    let (&delimiter, rest) = argument.split_first().ok_or(AddressError::Malformed)?;
    if !delimiter.is_ascii_graphic() {
        return Err(AddressError::Malformed);
    }
    let mut fields = rest.split(|&b| b == delimiter);
    let mut next = || fields.next().ok_or(AddressError::Malformed);
    let (family, address, port, end) = (next()?, next()?, next()?, next()?);
    if !end.is_empty() || fields.next().is_some() {
        return Err(AddressError::Malformed);
    }
    let family = Family::parse(family)?;
    let address = std::str::from_utf8(address).map_err(|_| AddressError::Malformed)?;
    let address = match family {
        Family::V4 => address.parse::<Ipv4Addr>().map(IpAddr::V4),
        Family::V6 => address.parse::<Ipv6Addr>().map(IpAddr::V6),
    };
    let address = address.map_err(|_| AddressError::Malformed)?;
    Ok(SocketAddr::new(address.to_canonical(), decimal(port)?))
}

/// `(h1,h2,h3,h4,p1,p2)` of a 227.
pub fn passive_text(address: Ipv4Addr, port: u16) -> String {
    let [a, b, c, d] = address.octets();
    let [high, low] = port.to_be_bytes();
    format!("({a},{b},{c},{d},{high},{low})")
}

/// Digits only: no sign, no blank. `str::parse` would take a `+`.
fn decimal<N: std::str::FromStr>(digits: &[u8]) -> Result<N, AddressError> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(AddressError::Malformed);
    }
    let digits = std::str::from_utf8(digits).map_err(|_| AddressError::Malformed)?;
    digits.parse().map_err(|_| AddressError::OutOfRange)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn port_takes_six_octets() {
        assert_eq!(
            parse_port(b"127,0,0,1,4,1").unwrap(),
            "127.0.0.1:1025".parse().unwrap()
        );
        for (bad, why) in [
            ("127,0,0,256,4,1", AddressError::OutOfRange),
            ("127,0,0,1,4,99999999999999999999", AddressError::OutOfRange),
            ("127,0,0,1,4", AddressError::Malformed),
            ("127,0,0,1,4,1,", AddressError::Malformed),
            ("127,0,0,1,+4,1", AddressError::Malformed),
            ("127,0,0,1,-4,1", AddressError::Malformed),
            ("127,0,0, 1,4,1", AddressError::Malformed),
            ("", AddressError::Malformed),
        ] {
            assert_eq!(parse_port(bad.as_bytes()), Err(why), "{bad}");
        }
    }

    #[test]
    fn eprt_takes_both_families_and_any_delimiter() {
        let v6 = "[1080::8:800:200c:417a]:5282".parse().unwrap();
        assert_eq!(
            parse_eprt(b"|1|132.235.1.2|6275|").unwrap(),
            "132.235.1.2:6275".parse().unwrap()
        );
        assert_eq!(parse_eprt(b"!2!1080::8:800:200C:417A!5282!").unwrap(), v6);
        for (bad, why) in [
            ("|3|1.2.3.4|2000|", AddressError::UnknownFamily),
            ("|1|::1|2000|", AddressError::Malformed),
            ("|2|1.2.3.4|2000|", AddressError::Malformed),
            ("|1|1.2.3.4|65536|", AddressError::OutOfRange),
            ("|1|1.2.3.4|+20|", AddressError::Malformed),
            ("|1|1.2.3.4|20", AddressError::Malformed),
            ("|1|1.2.3.4|20||", AddressError::Malformed),
            ("|2|fe80::1%eth0|2000|", AddressError::Malformed),
            (" 1 1.2.3.4 2000 ", AddressError::Malformed),
            ("", AddressError::Malformed),
        ] {
            assert_eq!(parse_eprt(bad.as_bytes()), Err(why), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_a_227_says_port_reads(ip: [u8; 4], port: u16) {
            let text = passive_text(Ipv4Addr::from(ip), port);
            let inner = text.trim_matches(['(', ')']);
            prop_assert_eq!(
                parse_port(inner.as_bytes()).unwrap(),
                SocketAddrV4::new(ip.into(), port)
            );
        }

        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse_port(&bytes);
            let _ = parse_eprt(&bytes);
            let _ = Family::parse(&bytes);
        }
    }
}
