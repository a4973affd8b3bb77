//! Replies in what has been heard: where the first one ends, and what it says.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// The code and the length of the first reply, once its last line is there.
pub(super) fn first_reply(heard: &[u8]) -> Option<(u16, usize)> {
    let mut len = 0;
    for line in heard.split_inclusive(|byte| *byte == b'\n') {
        len += line.len();
        if line.ends_with(b"\r\n") && line.get(3) == Some(&b' ') {
            let code = std::str::from_utf8(line.get(..3)?).ok()?;
            if let Ok(code) = code.parse() {
                return Some((code, len));
            }
        }
    }
    None
}

pub(super) fn parse_227(heard: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(heard).ok()?;
    let inside = text.split_once('(')?.1.split_once(')')?.0;
    let numbers: Vec<u8> = inside
        .split(',')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    let [a, b, c, d, high, low] = numbers[..] else {
        return None;
    };
    Some(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_complete_with_its_last_line() {
        assert_eq!(first_reply(b"220 Hello.\r\n"), Some((220, 12)));
        assert_eq!(first_reply(b"220 Hel"), None);
        assert_eq!(first_reply(b"211-Features:\r\n PASV\r\n"), None);
        assert_eq!(
            first_reply(b"211-Features:\r\n PASV\r\n211 End\r\n"),
            Some((211, 31))
        );
    }

    #[test]
    fn what_came_with_a_reply_is_the_next_one() {
        let (one, two) = (b"150 Go.\r\n", b"226 Done.\r\n");
        let both = [&one[..], &two[..]].concat();
        assert_eq!(first_reply(&both), Some((150, one.len())));
        assert_eq!(first_reply(&both[one.len()..]), Some((226, two.len())));
    }

    #[test]
    fn passive_replies_are_read() {
        let address = parse_227(b"227 Entering Passive Mode (127,0,0,1,117,49).\r\n");
        assert_eq!(address, Some("127.0.0.1:30001".parse().unwrap()));
        assert_eq!(parse_227(b"227 nonsense\r\n"), None);
    }
}
