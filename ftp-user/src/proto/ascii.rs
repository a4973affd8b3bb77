//! TYPE A: between the host's text (lines end in LF) and NVT-ASCII (lines end in CRLF), RFC 959
//! §3.1.1.1. Streaming: a line end may fall between two buffers.

/// LF → CRLF. A CRLF that is already there stays one CRLF, as users of files from other systems
/// expect.
#[derive(Debug, Default)]
pub struct ToNetwork {
    after_cr: bool,
}

impl ToNetwork {
    /// Appends `input`, converted, to `out`. At most twice as many bytes.
    pub fn convert(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let mut rest = input;
        while let Some(at) = rest.iter().position(|&b| b == b'\n') {
            let (line, tail) = rest.split_at(at);
            out.extend_from_slice(line);
            let crlf = line.last().map_or(self.after_cr, |&b| b == b'\r');
            out.extend_from_slice(if crlf { b"\n" } else { b"\r\n" });
            self.after_cr = false;
            rest = tail.get(1..).unwrap_or_default();
        }
        out.extend_from_slice(rest);
        if let Some(&last) = rest.last() {
            self.after_cr = last == b'\r';
        }
    }
}

/// CRLF → LF. A CR that no LF follows is text and stays.
#[derive(Debug, Default)]
pub struct FromNetwork {
    held_cr: bool,
}

impl FromNetwork {
    /// Appends `input`, converted, to `out`. At most one byte more.
    pub fn convert(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let mut rest = input;
        if self.held_cr && !rest.is_empty() {
            self.held_cr = false;
            if rest.first() != Some(&b'\n') {
                out.push(b'\r');
            }
        }
        while let Some(at) = rest.iter().position(|&b| b == b'\r') {
            let (text, tail) = rest.split_at(at);
            out.extend_from_slice(text);
            rest = tail.get(1..).unwrap_or_default();
            match rest.first() {
                None => {
                    self.held_cr = true;
                    return;
                }
                Some(b'\n') => {}
                Some(_) => out.push(b'\r'),
            }
        }
        out.extend_from_slice(rest);
    }

    /// The end of the data: a CR held back for its LF goes out as it is.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.held_cr) {
            out.push(b'\r');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn to_network(parts: &[&[u8]]) -> Vec<u8> {
        let (mut c, mut out) = (ToNetwork::default(), Vec::new());
        for part in parts {
            c.convert(part, &mut out);
        }
        out
    }

    fn from_network(parts: &[&[u8]]) -> Vec<u8> {
        let (mut c, mut out) = (FromNetwork::default(), Vec::new());
        for part in parts {
            c.convert(part, &mut out);
        }
        c.finish(&mut out);
        out
    }

    #[test]
    fn lines_get_crlf_and_lose_it() {
        assert_eq!(to_network(&[b"a\nb\n\nc"]), b"a\r\nb\r\n\r\nc");
        assert_eq!(from_network(&[b"a\r\nb\r\n\r\nc"]), b"a\nb\n\nc");
        assert_eq!(to_network(&[b"a\r\nb"]), b"a\r\nb");
    }

    #[test]
    fn a_line_end_may_fall_between_buffers() {
        assert_eq!(to_network(&[b"a\r", b"\nb\n"]), b"a\r\nb\r\n");
        assert_eq!(to_network(&[b"a\r", b"", b"\n"]), b"a\r\n");
        assert_eq!(from_network(&[b"a\r", b"\nb"]), b"a\nb");
        assert_eq!(from_network(&[b"a\r", b"b"]), b"a\rb");
        assert_eq!(from_network(&[b"a\r\r", b"\n\r"]), b"a\r\n\r");
    }

    proptest! {
        #[test]
        fn text_without_cr_survives_both_ways(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), 32..127u8], 0..300),
            cut in 0..300usize,
        ) {
            let cut = cut.min(text.len());
            let sent = to_network(&[&text[..cut], &text[cut..]]);
            prop_assert!(!sent.windows(2).any(|w| w[1] == b'\n' && w[0] != b'\r'));
            let cut = cut.min(sent.len());
            prop_assert_eq!(from_network(&[&sent[..cut], &sent[cut..]]), text);
        }

        #[test]
        fn where_the_buffers_end_makes_no_difference(
            data in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..300),
            cut in 0..300usize,
        ) {
            let cut = cut.min(data.len());
            let (a, b) = data.split_at(cut);
            prop_assert_eq!(to_network(&[a, b]), to_network(&[&data]));
            prop_assert_eq!(from_network(&[a, b]), from_network(&[&data]));
        }
    }
}
