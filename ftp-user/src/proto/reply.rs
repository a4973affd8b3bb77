//! Replies: a code and text, and how they look on the wire (RFC 959 §4.2, RFC 854 for 0xFF).

use std::borrow::Cow;
use std::fmt::Write as _;

/// Reply codes of RFC 959 §4.2.2, RFC 1123 §4.1.3.4 (554, 555), RFC 2228 §5 (234, 534, 536),
/// RFC 2428 (229, 522) and RFC 4217 (521, 522).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
#[expect(
    missing_docs,
    reason = "the RFCs' own names; the numbers document them"
)]
pub enum Code {
    OpeningData = 150,
    Okay = 200,
    Superfluous = 202,
    SystemStatus = 211,
    DirectoryStatus = 212,
    FileStatus = 213,
    Help = 214,
    SystemType = 215,
    ServiceReady = 220,
    Closing = 221,
    TransferComplete = 226,
    EnteringPassive = 227,
    EnteringExtendedPassive = 229,
    LoggedIn = 230,
    AuthAccepted = 234,
    ActionOkay = 250,
    PathCreated = 257,
    NeedPassword = 331,
    ActionPending = 350,
    ServiceUnavailable = 421,
    CannotOpenData = 425,
    TransferAborted = 426,
    FileBusy = 450,
    LocalError = 451,
    InsufficientStorage = 452,
    SyntaxError = 500,
    ArgumentError = 501,
    NotImplemented = 502,
    BadSequence = 503,
    ParameterNotImplemented = 504,
    WrongProtection = 521,
    FamilyNotSupported = 522,
    NotLoggedIn = 530,
    DeniedByPolicy = 534,
    ProtectionNotSupported = 536,
    FileUnavailable = 550,
    PageTypeUnknown = 551,
    StorageExceeded = 552,
    NameNotAllowed = 553,
    InvalidRestart = 554,
    TypeMismatch = 555,
}

impl Code {
    /// RFC 4217 §10.2 and RFC 2428 §3 share a number: here a data connection's TLS does not belong to
    /// its control connection's.
    pub const NOT_THIS_SESSION: Code = Code::FamilyNotSupported;
}

/// One reply, of one line or many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: Code,
    /// All lines but the last.
    lines: Vec<Cow<'static, [u8]>>,
    last: Cow<'static, [u8]>,
}

impl Reply {
    /// A reply of one line. A line end inside `text` cannot get out.
    pub fn new(code: Code, text: impl Into<Cow<'static, str>>) -> Reply {
        let last = match text.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Reply {
            code,
            lines: Vec::new(),
            last,
        }
    }

    /// A reply of one line that carries a name byte for byte (see [`super::text::quoted_path`]).
    pub fn bytes(code: Code, text: Vec<u8>) -> Reply {
        Reply {
            code,
            lines: Vec::new(),
            last: Cow::Owned(text),
        }
    }

    /// Puts a line before the last. The first one added opens the reply, as `code-line`.
    #[must_use]
    pub fn with_line(mut self, line: impl Into<Cow<'static, [u8]>>) -> Reply {
        self.lines.push(line.into());
        self
    }

    /// Its code, as the digits say it.
    pub fn number(&self) -> u16 {
        self.code as u16
    }

    /// Its code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Appends the reply's bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut code = String::with_capacity(4);
        // Writing to a String cannot fail.
        let _ = write!(code, "{}", self.number());
        for (n, line) in self.lines.iter().enumerate() {
            if n == 0 {
                out.extend_from_slice(code.as_bytes());
                out.push(b'-');
            } else if line.first().is_some_and(u8::is_ascii_digit) {
                // RFC 959 §4.2: a line that could pass for the last one is indented.
                out.push(b' ');
            }
            encode_line(line, out);
        }
        out.extend_from_slice(code.as_bytes());
        out.push(b' ');
        encode_line(&self.last, out);
    }
}

/// Text to the wire: 0xFF doubled (RFC 854), CR as CR NUL (RFC 2640 §3.1). LF cannot be sent at all, in
/// a command neither; it is NUL in both, as other servers have it, so that it cannot end the reply.
fn encode_line(line: &[u8], out: &mut Vec<u8>) {
    for &byte in line {
        match byte {
            0xff => out.extend_from_slice(&[0xff, 0xff]),
            b'\r' => out.extend_from_slice(b"\r\0"),
            b'\n' => out.push(0),
            _ => out.push(byte),
        }
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wire(reply: &Reply) -> Vec<u8> {
        let mut out = Vec::new();
        reply.encode(&mut out);
        out
    }

    #[test]
    fn one_line() {
        assert_eq!(wire(&Reply::new(Code::Okay, "Fine.")), b"200 Fine.\r\n");
    }

    #[test]
    fn many_lines_and_those_that_look_like_the_last() {
        let reply = Reply::new(Code::SystemStatus, "End")
            .with_line(&b"Features:"[..])
            .with_line(&b" UTF8"[..])
            .with_line(&b"211 not the end"[..]);
        assert_eq!(
            wire(&reply),
            b"211-Features:\r\n UTF8\r\n 211 not the end\r\n211 End\r\n"
        );
    }

    #[test]
    fn names_cannot_forge_a_reply() {
        let reply = Reply::bytes(Code::PathCreated, b"\"/a\r\n230 in\xff\"".to_vec());
        assert_eq!(wire(&reply), b"257 \"/a\r\0\x00230 in\xff\xff\"\r\n");
    }

    proptest! {
        #[test]
        fn text_never_ends_a_line(lines: Vec<Vec<u8>>, last: Vec<u8>) {
            let count = lines.len() + 1;
            let reply = lines.into_iter().fold(Reply::bytes(Code::Okay, last), Reply::with_line);
            let wire = wire(&reply);
            prop_assert_eq!(wire.iter().filter(|&&b| b == b'\n').count(), count);
            let at = wire[..wire.len() - 2].iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
            prop_assert!(wire[at..].starts_with(b"200 "));
        }
    }
}
