//! Control-connection bytes → command lines (RFC 959 §5.3, Telnet of RFC 854, CR of RFC 2640).
//!
//! Bounded: a line never holds more than [`LINE_LIMIT`] bytes, whatever arrives.

use super::reply::Code;

/// Longest command line, its end not counted: a path of PATH_MAX with room for any verb.
pub const LINE_LIMIT: usize = 4096 + 256;

/// Why a line was refused. The line was read to its end and thrown away; the connection can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// More than [`LINE_LIMIT`] bytes.
    #[error("Command line too long: at most {LINE_LIMIT} bytes.")]
    TooLong,
    /// A CR that neither ends the line nor is padded with NUL (RFC 2640 §3.1).
    #[error("Command line holds a CR that is not followed by LF or NUL.")]
    BareCr,
}

impl LineError {
    /// The reply code that says so.
    pub fn code(self) -> Code {
        match self {
            LineError::TooLong => Code::SyntaxError,
            LineError::BareCr => Code::ArgumentError,
        }
    }
}

/// Where in Telnet's grammar the next byte falls.
#[derive(Debug, Default, Clone, Copy)]
enum Telnet {
    #[default]
    Text,
    /// After CR.
    Cr,
    /// After IAC.
    Iac,
    /// After IAC WILL, WONT, DO or DONT, which this is: the option's number follows.
    Option(u8),
    /// Inside IAC SB … IAC SE.
    Sub,
    /// After an IAC inside a subnegotiation.
    SubIac,
}

const SE: u8 = 240;
const SB: u8 = 250;
const WILL: u8 = 251;
const WONT: u8 = 252;
const DO: u8 = 253;
const DONT: u8 = 254;
const IAC: u8 = 255;

/// Bytes of refusals that are kept until they are sent: of sixteen options, which no client has.
const MOST_REFUSALS: usize = 16 * 3;

/// Cuts a byte stream into lines, taking Telnet commands out of it.
///
/// CRLF and bare LF end a line, CR NUL is a CR, another NUL is an LF (which only names may have; see
/// `Reply`), IAC IAC is 0xFF. Other Telnet commands (IP and DM
/// before an ABOR, RFC 959 §4.1.3) are swallowed; options are refused. An IAC before a byte
/// that is no Telnet command is kept: it is a 0xFF of a client that does not double them.
#[derive(Debug, Default)]
pub struct LineSplitter {
    line: Vec<u8>,
    state: Telnet,
    fault: Option<LineError>,
    refusals: Vec<u8>,
}

impl LineSplitter {
    /// Takes bytes up to and including the next line's end. Returns how many it took, and the
    /// line without its end if one ended.
    pub fn feed(&mut self, input: &[u8]) -> (usize, Option<Result<Vec<u8>, LineError>>) {
        for (at, &byte) in input.iter().enumerate() {
            if let Some(line) = self.push(byte) {
                return (at + 1, Some(line));
            }
        }
        (input.len(), None)
    }

    /// What the client is to be told of the options that it has offered or asked for: that it has to do
    /// without (RFC 1123 §4.1.2.12).
    pub fn refusals(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.refusals)
    }

    /// Does a line wait for its end?
    pub fn is_partial(&self) -> bool {
        !self.line.is_empty() || self.fault.is_some()
    }

    fn push(&mut self, byte: u8) -> Option<Result<Vec<u8>, LineError>> {
        match self.state {
            Telnet::Text => return self.text(byte),
            Telnet::Cr => {
                self.state = Telnet::Text;
                match byte {
                    b'\n' => return Some(self.finish()),
                    0 => self.keep(b'\r'),
                    _ => {
                        self.refuse(LineError::BareCr);
                        return self.text(byte);
                    }
                }
            }
            Telnet::Iac => {
                self.state = Telnet::Text;
                match byte {
                    IAC => self.keep(IAC),
                    WILL..=DONT => self.state = Telnet::Option(byte),
                    SB => self.state = Telnet::Sub,
                    SE.. => {}
                    _ => {
                        self.keep(IAC);
                        return self.text(byte);
                    }
                }
            }
            Telnet::Option(verb) => {
                self.state = Telnet::Text;
                self.refuse_option(verb, byte);
            }
            Telnet::Sub => {
                if byte == IAC {
                    self.state = Telnet::SubIac;
                }
            }
            Telnet::SubIac => {
                self.state = if byte == SE {
                    Telnet::Text
                } else {
                    Telnet::Sub
                };
            }
        }
        None
    }

    fn text(&mut self, byte: u8) -> Option<Result<Vec<u8>, LineError>> {
        match byte {
            b'\n' => return Some(self.finish()),
            b'\r' => self.state = Telnet::Cr,
            IAC => self.state = Telnet::Iac,
            0 => self.keep(b'\n'),
            _ => self.keep(byte),
        }
        None
    }

    fn keep(&mut self, byte: u8) {
        if self.line.len() == LINE_LIMIT {
            self.refuse(LineError::TooLong);
        } else if self.fault.is_none() {
            self.line.push(byte);
        }
    }

    /// WONT and DONT say how things are, and are not answered (RFC 854).
    fn refuse_option(&mut self, verb: u8, option: u8) {
        let refusal = match verb {
            WILL => DONT,
            DO => WONT,
            _ => return,
        };
        if self.refusals.len() < MOST_REFUSALS {
            self.refusals.extend_from_slice(&[IAC, refusal, option]);
        }
    }

    /// The first fault decides the answer; what was kept is of no use any more.
    fn refuse(&mut self, fault: LineError) {
        self.fault.get_or_insert(fault);
        self.line = Vec::new();
    }

    fn finish(&mut self) -> Result<Vec<u8>, LineError> {
        let line = std::mem::take(&mut self.line);
        self.fault.take().map_or(Ok(line), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(mut input: &[u8]) -> Vec<Result<Vec<u8>, LineError>> {
        let mut splitter = LineSplitter::default();
        let mut out = Vec::new();
        while !input.is_empty() {
            let (taken, line) = splitter.feed(input);
            input = &input[taken..];
            out.extend(line);
        }
        out
    }

    fn one(input: &[u8]) -> Result<Vec<u8>, LineError> {
        let mut lines = lines(input);
        assert_eq!(lines.len(), 1, "{input:?}");
        lines.remove(0)
    }

    #[test]
    fn crlf_and_bare_lf_end_a_line() {
        let got = lines(b"USER a\r\nPASS b\nNOOP");
        assert_eq!(got, [Ok(b"USER a".to_vec()), Ok(b"PASS b".to_vec())]);
    }

    #[test]
    fn telnet_commands_are_taken_out() {
        assert_eq!(one(b"\xff\xf4\xff\xf2ABOR\r\n").unwrap(), b"ABOR");
        assert_eq!(one(b"\xff\xfb\x01NO\xff\xfe\x18OP\r\n").unwrap(), b"NOOP");
        assert_eq!(
            one(b"A\xff\xfa\x18\r\n\xff\xffx\xff\xf0B\r\n").unwrap(),
            b"AB"
        );
        assert_eq!(one(b"CWD \xff\xff\r\n").unwrap(), b"CWD \xff");
    }

    #[test]
    fn options_are_refused_as_long_as_somebody_listens() {
        let mut splitter = LineSplitter::default();
        splitter.feed(b"\xff\xfd\x03\xff\xfb\x01\xff\xfc\x01\xff\xfe\xff\xff\xfd\xff");
        assert_eq!(splitter.refusals(), b"\xff\xfc\x03\xff\xfe\x01\xff\xfc\xff");
        assert_eq!(splitter.refusals(), b"");
        splitter.feed(&b"\xff\xfd\x03".repeat(1000));
        assert_eq!(splitter.refusals().len(), MOST_REFUSALS);
    }

    #[test]
    fn an_iac_before_text_is_a_byte_of_the_name() {
        assert_eq!(one(b"CWD \xfft\r\n").unwrap(), b"CWD \xfft");
        assert_eq!(one(b"CWD \xff\r\n").unwrap(), b"CWD \xff");
    }

    #[test]
    fn cr_nul_is_a_cr_other_nul_an_lf_and_other_cr_is_refused() {
        assert_eq!(one(b"CWD a\r\0b\r\n").unwrap(), b"CWD a\rb");
        assert_eq!(one(b"CWD a\rb\r\n"), Err(LineError::BareCr));
        assert_eq!(one(b"CWD a\0b\r\0\0\r\n").unwrap(), b"CWD a\nb\r\n");
        assert_eq!(one(b"CWD a\r\r\n"), Err(LineError::BareCr));
    }

    #[test]
    fn a_line_too_long_is_one_error_and_the_next_line_is_whole() {
        let mut input = vec![b'x'; LINE_LIMIT];
        input.extend_from_slice(b"\r\n");
        assert_eq!(one(&input).unwrap().len(), LINE_LIMIT);

        let mut input = vec![b'x'; LINE_LIMIT * 3];
        input.extend_from_slice(b"\r\nNOOP\r\n");
        assert_eq!(
            lines(&input),
            [Err(LineError::TooLong), Ok(b"NOOP".to_vec())]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_give_bounded_lines_without_nul(
            input in proptest::collection::vec(
                prop_oneof![any::<u8>(), Just(0), Just(b'\r'), Just(b'\n'), Just(IAC), 236..=255u8],
                0..6000,
            ),
        ) {
            for line in lines(&input).into_iter().flatten() {
                prop_assert!(line.len() <= LINE_LIMIT);
                prop_assert!(!line.contains(&0));
            }
        }

        #[test]
        fn where_the_reads_end_makes_no_difference(input: Vec<u8>, cut: usize) {
            let cut = if input.is_empty() { 0 } else { cut % input.len() };
            let mut splitter = LineSplitter::default();
            let mut out = Vec::new();
            for mut part in [&input[..cut], &input[cut..]] {
                while !part.is_empty() {
                    let (taken, line) = splitter.feed(part);
                    part = &part[taken..];
                    out.extend(line);
                }
            }
            prop_assert_eq!(out, lines(&input));
        }
    }
}
