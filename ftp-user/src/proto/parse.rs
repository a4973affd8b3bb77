//! A command line → a [`Command`], or a refusal that knows its reply code.

mod digest;
mod site;
mod words;

use super::address::{AddressError, Family, parse_eprt, parse_port};
use super::command::{
    Algorithm, Command, EpsvArgument, Mechanism, Mode, Opts, Protection, Secret, TypeCode, Verb,
};
use super::list_options::ListRequest;
use super::listing::parse_timestamp;
use super::reply::{Code, Reply};

/// Why a line is not a command of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No FTP verb.
    #[error("Unknown command.")]
    Unknown,
    /// A verb of an RFC that we do not serve.
    #[error("Command not implemented.")]
    NotImplemented,
    /// The verb stands alone but needs more.
    #[error("Usage: {}", .0.usage())]
    Missing(Verb),
    /// The argument is not of the verb's form.
    #[error("Bad argument. Usage: {}", .0.usage())]
    Malformed(Verb),
    /// The verb takes no argument.
    #[error("{} takes no argument.", .0.name())]
    Unexpected(Verb),
    /// A value of the RFC that we do not serve.
    #[error("Not supported. Usage: {}", .0.usage())]
    Unsupported(Verb),
    /// A number beyond what a file can hold.
    #[error("Number out of range.")]
    OutOfRange,
    /// PORT's, EPRT's or EPSV's argument.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// An OPTS for something that has no options (RFC 2389 §4).
    #[error("Option not understood.")]
    UnknownOption,
    /// OPTS HASH with a name that is none of ours (draft-bryan-ftpext-hash-02 §3.2).
    #[error("Unknown algorithm; FEAT lists them.")]
    UnknownAlgorithm,
    /// SITE CHMOD with bits beyond rwxrwxrwx.
    #[error("Set-id and sticky bits are not set here.")]
    SpecialMode,
    /// HOST's argument (RFC 7151 §3.1).
    #[error("Not a host name or address.")]
    BadHost,
    /// A SITE command that we do not serve.
    #[error("Unknown SITE command; SITE HELP lists them.")]
    UnknownSite,
}

impl CommandError {
    /// The reply code that says so.
    pub fn code(self) -> Code {
        match self {
            CommandError::Unknown | CommandError::UnknownSite => Code::SyntaxError,
            CommandError::NotImplemented => Code::NotImplemented,
            CommandError::Missing(_)
            | CommandError::Malformed(_)
            | CommandError::Unexpected(_)
            | CommandError::OutOfRange
            | CommandError::UnknownAlgorithm
            | CommandError::BadHost
            | CommandError::UnknownOption => Code::ArgumentError,
            CommandError::Unsupported(_) | CommandError::SpecialMode => {
                Code::ParameterNotImplemented
            }
            CommandError::Address(error) => error.code(),
        }
    }
}

impl From<CommandError> for Reply {
    fn from(error: CommandError) -> Reply {
        Reply::new(error.code(), error.to_string())
    }
}

/// Verbs of RFC 959, 2228, 1639 and 2640 that exist but are not served: 502, not 500.
const NOT_SERVED: &[&[u8]] = &[
    b"SMNT", b"ADAT", b"MIC", b"CONF", b"ENC", b"LPRT", b"LPSV", b"LANG",
];

/// Reads one line, its end already taken off.
pub fn parse(line: &[u8]) -> Result<Command, CommandError> {
    let (name, argument) = match line.iter().position(|&b| b == b' ') {
        // One space separates (RFC 959 §5.3.1); every byte after it is the argument.
        Some(at) => (&line[..at], &line[at + 1..]),
        None => (line, &line[line.len()..]),
    };
    let Some(verb) = Verb::parse(name) else {
        let known = NOT_SERVED
            .iter()
            .any(|other| name.eq_ignore_ascii_case(other));
        return Err(if known {
            CommandError::NotImplemented
        } else {
            CommandError::Unknown
        });
    };
    let argument = Argument {
        verb,
        bytes: argument,
    };
    Ok(match verb {
        Verb::Host => Command::Host(host(&argument)?),
        Verb::User => Command::User(argument.required()?),
        // An empty password is a password.
        Verb::Pass => Command::Pass(Secret::new(argument.bytes.to_vec())),
        Verb::Acct => Command::Acct,
        Verb::Auth => Command::Auth(mechanism(&argument)?),
        Verb::Pbsz => pbsz(&argument)?,
        Verb::Prot => Command::Prot(protection(&argument)?),
        Verb::Ccc => argument.none(Command::Ccc)?,
        Verb::Quit => argument.none(Command::Quit)?,
        Verb::Rein => argument.none(Command::Rein)?,
        Verb::Syst => argument.none(Command::Syst)?,
        Verb::Feat => argument.none(Command::Feat)?,
        Verb::Opts => Command::Opts(opts(&argument)?),
        Verb::Help => match argument.word() {
            b"" => Command::Help(None),
            name => Command::Help(Some(
                Verb::parse(name).ok_or(CommandError::Malformed(verb))?,
            )),
        },
        Verb::Clnt => Command::Clnt(argument.required()?),
        // RFC 959 gives NOOP none, but clients send one to keep the connection alive.
        Verb::Noop => Command::Noop,
        Verb::Pwd => argument.none(Command::Pwd)?,
        Verb::Cwd => Command::Cwd(argument.required()?),
        Verb::Cdup => argument.none(Command::Cdup)?,
        Verb::Type => Command::Type(type_code(&argument)?),
        Verb::Mode => Command::Mode(mode(&argument)?),
        Verb::Stru => argument.one_of(b"F", b"RP", Command::Stru)?,
        Verb::Pasv => argument.none(Command::Pasv)?,
        Verb::Epsv => Command::Epsv(match argument.word() {
            b"" => EpsvArgument::Any,
            all if all.eq_ignore_ascii_case(b"ALL") => EpsvArgument::All,
            number => EpsvArgument::Family(Family::parse(number)?),
        }),
        Verb::Port => Command::Port(parse_port(argument.required_word()?)?),
        Verb::Eprt => Command::Eprt(parse_eprt(argument.required_word()?)?),
        Verb::List => Command::List(ListRequest::parse(argument.bytes)),
        Verb::Nlst => Command::Nlst(ListRequest::parse(argument.bytes)),
        Verb::Mlsd => Command::Mlsd(argument.optional()),
        Verb::Mlst => Command::Mlst(argument.optional()),
        Verb::Stat if argument.bytes.is_empty() => Command::Stat,
        Verb::Stat => Command::StatPath(ListRequest::parse(argument.bytes)),
        Verb::Retr => Command::Retr(argument.required()?),
        Verb::Stor => Command::Stor(argument.required()?),
        Verb::Appe => Command::Appe(argument.required()?),
        // Some clients name a file; RFC 959 leaves the name to the server.
        Verb::Stou => Command::Stou,
        Verb::Rest => Command::Rest(number(argument.verb, argument.required_word()?)?),
        Verb::Size => Command::Size(argument.required()?),
        Verb::Mdtm => Command::Mdtm(argument.required()?),
        Verb::Mfmt => mfmt(&argument)?,
        Verb::Rang => Command::Rang(digest::rang(&argument)?),
        Verb::Hash => Command::Hash(argument.required()?),
        Verb::Xcrc => digest::digest(&argument, Algorithm::Crc32)?,
        Verb::Xmd5 => digest::digest(&argument, Algorithm::Md5)?,
        Verb::Xsha1 => digest::digest(&argument, Algorithm::Sha1)?,
        Verb::Xsha256 => digest::digest(&argument, Algorithm::Sha256)?,
        Verb::Xsha512 => digest::digest(&argument, Algorithm::Sha512)?,
        Verb::Avbl => Command::Avbl(argument.optional()),
        Verb::Comb => comb(&argument)?,
        Verb::Dele => Command::Dele(argument.required()?),
        Verb::Mkd => Command::Mkd(argument.required()?),
        Verb::Rmd => Command::Rmd(argument.required()?),
        Verb::Rnfr => Command::Rnfr(argument.required()?),
        Verb::Rnto => Command::Rnto(argument.required()?),
        Verb::Abor => argument.none(Command::Abor)?,
        Verb::Allo => allo(&argument)?,
        Verb::Site => Command::Site(site::site(&argument)?),
    })
}

struct Argument<'a> {
    verb: Verb,
    bytes: &'a [u8],
}

impl<'a> Argument<'a> {
    /// Without blanks around it. Not for paths.
    fn word(&self) -> &'a [u8] {
        self.bytes.trim_ascii()
    }

    fn required_word(&self) -> Result<&'a [u8], CommandError> {
        match self.word() {
            b"" => Err(CommandError::Missing(self.verb)),
            word => Ok(word),
        }
    }

    fn none(&self, command: Command) -> Result<Command, CommandError> {
        if self.word().is_empty() {
            Ok(command)
        } else {
            Err(CommandError::Unexpected(self.verb))
        }
    }

    fn optional(&self) -> Option<Vec<u8>> {
        (!self.bytes.is_empty()).then(|| self.bytes.to_vec())
    }

    fn required(&self) -> Result<Vec<u8>, CommandError> {
        self.optional().ok_or(CommandError::Missing(self.verb))
    }

    fn one_of(&self, ok: &[u8], known: &[u8], command: Command) -> Result<Command, CommandError> {
        match self.required_word()? {
            [letter] if ok.contains(&letter.to_ascii_uppercase()) => Ok(command),
            [letter] if known.contains(&letter.to_ascii_uppercase()) => {
                Err(CommandError::Unsupported(self.verb))
            }
            _ => Err(CommandError::Malformed(self.verb)),
        }
    }
}

fn opts(argument: &Argument<'_>) -> Result<Opts, CommandError> {
    let word = argument.required_word()?;
    let mut parts = word.splitn(2, |&b| b == b' ');
    let (name, rest) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    match (
        &name.to_ascii_uppercase()[..],
        &rest.trim_ascii().to_ascii_uppercase()[..],
    ) {
        (b"UTF8" | b"UTF-8", b"" | b"ON") => Ok(Opts::Utf8),
        (b"UTF8" | b"UTF-8", _) => Err(CommandError::Unsupported(argument.verb)),
        (b"MLST", _) => Ok(Opts::Mlst(rest.trim_ascii().to_vec())),
        (b"HASH", _) => digest::algorithm(rest.trim_ascii()).map(Opts::Hash),
        (b"MODE", [b'Z', b' ', level @ ..]) => match level.strip_prefix(b"LEVEL ") {
            Some([level @ b'0'..=b'9']) => Ok(Opts::DeflateLevel(level - b'0')),
            Some(_) | None => Err(CommandError::UnknownOption),
        },
        _ => Err(CommandError::UnknownOption),
    }
}

/// A name or an address, as it stands in an URL: IPv6 in brackets (RFC 7151 §3.1). A port is not part
/// of it.
fn host(argument: &Argument<'_>) -> Result<Vec<u8>, CommandError> {
    let host = argument.required_word()?;
    let good = match host {
        [b'[', inside @ .., b']'] => inside
            .iter()
            .all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')),
        name => name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')),
    };
    good.then(|| host.to_vec()).ok_or(CommandError::BadHost)
}

fn mode(argument: &Argument<'_>) -> Result<Mode, CommandError> {
    match &argument.required_word()?.to_ascii_uppercase()[..] {
        b"S" => Ok(Mode::Stream),
        b"Z" => Ok(Mode::Deflate),
        b"B" | b"C" => Err(CommandError::Unsupported(argument.verb)),
        _ => Err(CommandError::Malformed(argument.verb)),
    }
}

/// `MFMT time path` (draft-somers-ftp-mfxx-04 §3.1)
fn mfmt(argument: &Argument<'_>) -> Result<Command, CommandError> {
    let text = argument.required()?;
    let malformed = CommandError::Malformed(argument.verb);
    let at = text.iter().position(|&b| b == b' ').ok_or(malformed)?;
    let (time, path) = (&text[..at], &text[at + 1..]);
    match parse_timestamp(time) {
        Some(time) if !path.is_empty() => Ok(Command::Mfmt(time, path.to_vec())),
        Some(_) | None => Err(malformed),
    }
}

fn comb(argument: &Argument<'_>) -> Result<Command, CommandError> {
    let malformed = CommandError::Malformed(argument.verb);
    let mut names = words::words(&argument.required()?)
        .ok_or(malformed)?
        .into_iter();
    let target = names.next().ok_or(malformed)?;
    let parts: Vec<_> = names.collect();
    if parts.is_empty() || target.is_empty() || parts.iter().any(Vec::is_empty) {
        return Err(malformed);
    }
    Ok(Command::Comb(target, parts))
}

fn type_code(argument: &Argument<'_>) -> Result<TypeCode, CommandError> {
    match &argument.required_word()?.to_ascii_uppercase()[..] {
        b"A" | b"A N" => Ok(TypeCode::Ascii),
        b"I" | b"L 8" => Ok(TypeCode::Image),
        b"E" | b"E N" | b"E T" | b"E C" | b"A T" | b"A C" => {
            Err(CommandError::Unsupported(argument.verb))
        }
        [b'L', b' ', size @ ..] if number::<u8>(argument.verb, size).is_ok() => {
            Err(CommandError::Unsupported(argument.verb))
        }
        _ => Err(CommandError::Malformed(argument.verb)),
    }
}

/// `SSL` and `TLS-P` mean TLS with PROT P already given, which RFC 4217 leaves out on purpose: a
/// client has to ask for what it gets.
fn mechanism(argument: &Argument<'_>) -> Result<Mechanism, CommandError> {
    match &argument.required_word()?.to_ascii_uppercase()[..] {
        b"TLS" | b"TLS-C" => Ok(Mechanism::Tls),
        _ => Err(CommandError::Unsupported(argument.verb)),
    }
}

/// The size is 32 bits (RFC 2228 §3) and means nothing to TLS (RFC 4217 §9).
fn pbsz(argument: &Argument<'_>) -> Result<Command, CommandError> {
    number::<u32>(argument.verb, argument.required_word()?).map(|_| Command::Pbsz)
}

fn protection(argument: &Argument<'_>) -> Result<Protection, CommandError> {
    match &argument.required_word()?.to_ascii_uppercase()[..] {
        b"C" => Ok(Protection::Clear),
        b"P" => Ok(Protection::Private),
        b"S" | b"E" => Ok(Protection::NotByTls),
        _ => Err(CommandError::Unsupported(argument.verb)),
    }
}

/// `ALLO <bytes> [R <record size>]`
fn allo(argument: &Argument<'_>) -> Result<Command, CommandError> {
    let mut words = argument
        .required_word()?
        .split(|&b| b == b' ')
        .filter(|word| !word.is_empty());
    let size = words.next().unwrap_or_default();
    let bytes = number(argument.verb, size)?;
    match (words.next(), words.next(), words.next()) {
        (None, ..) => Ok(Command::Allo(bytes)),
        (Some(b"R" | b"r"), Some(record), None) => {
            number::<u64>(argument.verb, record).map(|_| Command::Allo(bytes))
        }
        _ => Err(CommandError::Malformed(argument.verb)),
    }
}

/// Digits only, and no more than a file offset holds.
fn number<N: TryFrom<i64>>(verb: Verb, digits: &[u8]) -> Result<N, CommandError> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(CommandError::Malformed(verb));
    }
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse::<i64>().ok())
        .and_then(|number| N::try_from(number).ok())
        .ok_or(CommandError::OutOfRange)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code(line: &str) -> u16 {
        parse(line.as_bytes()).expect_err(line).code() as u16
    }

    #[test]
    fn verbs_in_any_case_and_paths_byte_for_byte() {
        assert_eq!(parse(b"retr a b"), Ok(Command::Retr(b"a b".to_vec())));
        assert_eq!(parse(b"RETR  a "), Ok(Command::Retr(b" a ".to_vec())));
        assert_eq!(
            parse(b"XMKD \xff\xfe"),
            Ok(Command::Mkd(b"\xff\xfe".to_vec()))
        );
        assert_eq!(parse(b"QUIT "), Ok(Command::Quit));
        assert_eq!(parse(b"NLST"), Ok(Command::Nlst(ListRequest::default())));
        assert_eq!(parse(b"STAT"), Ok(Command::Stat));
        assert!(matches!(parse(b"STAT -l"), Ok(Command::StatPath(_))));
    }

    #[test]
    fn arguments_that_are_served() {
        for (line, command) in [
            ("TYPE a n", Command::Type(TypeCode::Ascii)),
            ("TYPE L 8", Command::Type(TypeCode::Image)),
            ("MODE s", Command::Mode(Mode::Stream)),
            ("MODE Z", Command::Mode(Mode::Deflate)),
            ("OPTS mode z level 9", Command::Opts(Opts::DeflateLevel(9))),
            (
                "HOST [2001:db8::1]",
                Command::Host(b"[2001:db8::1]".to_vec()),
            ),
            (
                "HOST ftp.example.com",
                Command::Host(b"ftp.example.com".to_vec()),
            ),
            ("CLNT curl 8", Command::Clnt(b"curl 8".to_vec())),
            ("AVBL", Command::Avbl(None)),
            (
                "COMB \"a b\" c d",
                Command::Comb(b"a b".to_vec(), vec![b"c".to_vec(), b"d".to_vec()]),
            ),
            (
                "MFMT 19700101000010 a b",
                Command::Mfmt(
                    std::time::UNIX_EPOCH + std::time::Duration::from_secs(10),
                    b"a b".to_vec(),
                ),
            ),
            ("STRU F", Command::Stru),
            ("EPSV", Command::Epsv(EpsvArgument::Any)),
            ("EPSV all", Command::Epsv(EpsvArgument::All)),
            ("EPSV 2", Command::Epsv(EpsvArgument::Family(Family::V6))),
            ("REST 9223372036854775807", Command::Rest(i64::MAX as u64)),
            ("ALLO 5 R 10", Command::Allo(5)),
            ("AUTH tls", Command::Auth(Mechanism::Tls)),
            ("AUTH TLS-C", Command::Auth(Mechanism::Tls)),
            ("PBSZ 0", Command::Pbsz),
            ("PBSZ 4294967295", Command::Pbsz),
            ("PROT p", Command::Prot(Protection::Private)),
            ("PROT E", Command::Prot(Protection::NotByTls)),
            ("OPTS utf8 on", Command::Opts(Opts::Utf8)),
            (
                "OPTS MLST Size;Type;",
                Command::Opts(Opts::Mlst(b"Size;Type;".to_vec())),
            ),
            ("HELP retr", Command::Help(Some(Verb::Retr))),
            (
                "SITE help",
                Command::Site(crate::proto::command::Site::Help),
            ),
        ] {
            assert_eq!(parse(line.as_bytes()), Ok(command), "{line}");
        }
    }

    #[test]
    fn each_bad_argument_has_its_code() {
        for (line, expected) in [
            ("", 500),
            ("WHAT", 500),
            ("RETRIEVE x", 500),
            ("SITE FROB", 500),
            ("AUTH", 501),
            ("AUTH SSL", 504),
            ("AUTH TLS-P", 504),
            ("AUTH GSSAPI", 504),
            ("PBSZ -1", 501),
            ("PBSZ 4294967296", 501),
            ("PROT", 501),
            ("PROT X", 504),
            ("CCC x", 501),
            ("SMNT /", 502),
            ("RETR", 501),
            ("RETR ", 501),
            ("PASV x", 501),
            ("REST -1", 501),
            ("REST +1", 501),
            ("REST 0x10", 501),
            ("REST 9223372036854775808", 501),
            ("REST 99999999999999999999999", 501),
            ("ALLO many", 501),
            ("ALLO 5 R", 501),
            ("TYPE", 501),
            ("TYPE X", 501),
            ("TYPE E", 504),
            ("TYPE A T", 504),
            ("TYPE L 36", 504),
            ("MODE B", 504),
            ("OPTS MODE Z LEVEL 10", 501),
            ("OPTS MODE Z", 501),
            ("HOST a:21", 501),
            ("HOST", 501),
            ("CLNT", 501),
            ("COMB a", 501),
            ("COMB a \"\"", 501),
            ("MFMT 19700101000010", 501),
            ("MFMT yesterday a", 501),
            ("HASH", 501),
            ("MODE Q", 501),
            ("STRU R", 504),
            ("STRU", 501),
            ("EPSV 3", 522),
            ("EPSV x", 501),
            ("EPRT |9|::1|2000|", 522),
            ("EPRT |1|::1|2000|", 501),
            ("PORT 1,2,3,4,5,256", 501),
            ("PORT 1,2,3,4,5", 501),
            ("OPTS UTF8 OFF", 504),
            ("OPTS FROB", 501),
            ("HELP FROB", 501),
        ] {
            assert_eq!(code(line), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&line);
        }

        #[test]
        fn any_argument_of_any_verb_is_answered(
            verb in proptest::sample::select(Verb::ALL),
            argument in proptest::collection::vec(
                prop_oneof![any::<u8>(), Just(b' '), Just(b'|'), Just(b','), b'0'..=b'9'], 0..40),
        ) {
            let mut line = verb.name().as_bytes().to_vec();
            line.push(b' ');
            line.extend(argument);
            if let Err(error) = parse(&line) {
                prop_assert!((500..=522).contains(&(error.code() as u16)));
            }
        }
    }
}
