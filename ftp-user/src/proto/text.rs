//! Names made safe to show: in replies and in logs. Names themselves are bytes and stay bytes.

use std::fmt;

/// Bytes from the network or the disk, shown so that they cannot forge a line, a reply or a
/// terminal sequence: control bytes become `\xNN`, a backslash is doubled, UTF-8 stays readable.
pub struct Visible<'a>(pub &'a [u8]);

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\\' => f.write_str("\\\\")?,
                    // C1 controls (U+0080..9F) drive terminals as C0 do.
                    c if c.is_control() => {
                        let mut utf8 = [0; 4];
                        escape(f, c.encode_utf8(&mut utf8).as_bytes())?;
                    }
                    c => fmt::Write::write_char(f, c)?,
                }
            }
            escape(f, chunk.invalid())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

fn escape(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|b| write!(f, "\\x{b:02x}"))
}

/// A path between quotes as RFC 959 appendix II wants it in a 257: byte-exact, quotes doubled.
///
/// `Reply` takes care of the bytes that end lines.
pub fn quoted_path(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len() + 2);
    out.push(b'"');
    for &byte in path {
        match byte {
            b'"' => out.extend_from_slice(b"\"\""),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shows_utf8_and_escapes_the_rest() {
        let shown = Visible("grün\r\n\x1b[2J\\".as_bytes()).to_string();
        assert_eq!(shown, "grün\\x0d\\x0a\\x1b[2J\\\\");
        assert_eq!(Visible(b"a\xffb").to_string(), "a\\xffb");
        assert_eq!(Visible("\u{9b}31m".as_bytes()).to_string(), "\\xc2\\x9b31m");
    }

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(quoted_path(b"/a\"b"), b"\"/a\"\"b\"");
        assert_eq!(quoted_path(b"/\xe9"), b"\"/\xe9\"");
    }

    proptest! {
        #[test]
        fn never_shows_a_control_character(bytes: Vec<u8>) {
            prop_assert!(!Visible(&bytes).to_string().chars().any(char::is_control));
        }
    }
}
