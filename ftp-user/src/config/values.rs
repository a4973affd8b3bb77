//! Single values, from the text that an admin writes: what is good, and words for what is not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Longer than this is a slip of the pen, and far from what clocks can add.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// With "220 " and CRLF it stays within 512 bytes, which is what old clients have room for.
const LONGEST_GREETING: usize = 500;

pub(super) fn duration(text: &str, least: Duration) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| {
        format!("\"{text}\" is not a duration such as \"30s\", \"5m\" or \"1h\": {error}")
    })?;
    if duration < least {
        return Err(format!(
            "\"{text}\" is too short: nothing could happen in time"
        ));
    }
    if duration > LONGEST {
        return Err(format!("\"{text}\" is too long: a year is the most"));
    }
    Ok(duration)
}

/// A name that HOST can have; addresses are known without being told.
pub(super) fn host_name(text: &str) -> Result<(), String> {
    let good = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    match good {
        true => Ok(()),
        false => Err(format!(
            "\"{text}\" is not a host name such as \"ftp.example.com\""
        )),
    }
}

/// Whether binding both fails: the same port, and one address covers the other. "[::]" covers IPv4.
pub(super) fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let covers =
        |a: IpAddr, b: IpAddr| a == b || (a.is_unspecified() && (a.is_ipv6() || b.is_ipv4()));
    // Port 0 is any free port, another one each time.
    a.port() == b.port() && a.port() != 0 && (covers(a.ip(), b.ip()) || covers(b.ip(), a.ip()))
}

/// The words for what `Config::listened_passive_port` finds.
pub(super) fn listened_passive_port(port: u16) -> String {
    format!(
        "port {port} is listened on for control connections and cannot be a passive port: leave \
         it out with \"!{port}\""
    )
}

pub(super) fn not_an_address(text: &str) -> String {
    let right = if text.parse::<Ipv4Addr>().is_ok() {
        format!("the port is missing: write \"{text}:21\"")
    } else if text.trim_matches(['[', ']']).parse::<Ipv6Addr>().is_ok() {
        let bare = text.trim_matches(['[', ']']);
        format!("the port is missing: write \"[{bare}]:21\"")
    } else {
        "write one such as \"[::]:21\" or \"192.0.2.1:21\"; host names are not looked up".to_owned()
    };
    format!("\"{text}\" is not an address with a port: {right}")
}

pub(super) fn greeting(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("the greeting is one line without control characters".to_owned());
    }
    if text.len() > LONGEST_GREETING {
        return Err(format!(
            "the greeting has {} bytes; {LONGEST_GREETING} is the most",
            text.len()
        ));
    }
    Ok(text.to_owned())
}
