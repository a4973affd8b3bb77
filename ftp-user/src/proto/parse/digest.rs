//! The arguments of RANG, OPTS HASH and of the verbs that are named after a hash.

use super::words::words;
use super::{Argument, CommandError, number};
use crate::proto::command::{Algorithm, ByteRange, Command};

/// `RANG first last` (draft-bryan-ftp-range-08 §3).
pub(super) fn rang(argument: &Argument<'_>) -> Result<ByteRange, CommandError> {
    let mut numbers = argument.required_word()?.split(|&byte| byte == b' ');
    let mut next = || number::<u64>(argument.verb, numbers.next().unwrap_or_default());
    let (first, last) = (next()?, next()?);
    if numbers.next().is_some() {
        return Err(CommandError::Malformed(argument.verb));
    }
    match (first, last) {
        (1, 0) => Ok(ByteRange::All),
        (first, last) if first <= last => Ok(ByteRange::Inclusive(first, last)),
        _ => Ok(ByteRange::Backwards),
    }
}

/// `OPTS HASH [name]`
pub(super) fn algorithm(name: &[u8]) -> Result<Option<Algorithm>, CommandError> {
    if name.is_empty() {
        return Ok(None);
    }
    let known = Algorithm::ALL
        .into_iter()
        .find(|algorithm| name.eq_ignore_ascii_case(algorithm.name().as_bytes()));
    known.map(Some).ok_or(CommandError::UnknownAlgorithm)
}

/// `XCRC path [from [to]]`: from the byte `from` on, up to but without the byte `to`, as ProFTPD has
/// it. The path is quoted where it has blanks in it; without quotes it is all that stands before
/// the numbers.
pub(super) fn digest(
    argument: &Argument<'_>,
    algorithm: Algorithm,
) -> Result<Command, CommandError> {
    let text = argument.required()?;
    let malformed = CommandError::Malformed(argument.verb);
    if text.first() == Some(&b'"') {
        let words = words(&text).ok_or(malformed)?;
        let range = match &words[..] {
            [_] => None,
            [_, from] => Some((number(argument.verb, from)?, None)),
            [_, from, to] => Some((
                number(argument.verb, from)?,
                Some(number(argument.verb, to)?),
            )),
            _ => return Err(malformed),
        };
        let path = words.into_iter().next().filter(|path| !path.is_empty());
        let path = path.ok_or(malformed)?;
        return in_order(range)
            .ok_or(malformed)
            .map(|range| Command::Digest(algorithm, path, range));
    }
    let (path, range) = match trailing_number(argument, &text) {
        None => (&text[..], None),
        Some((rest, last)) => match trailing_number(argument, rest) {
            None => (rest, Some((last, None))),
            Some((path, first)) => (path, Some((first, Some(last)))),
        },
    };
    let range = in_order(range).ok_or(malformed)?;
    Ok(Command::Digest(algorithm, path.to_vec(), range))
}

type Range = Option<(u64, Option<u64>)>;

/// `None`: it ends before it starts.
fn in_order(range: Range) -> Option<Range> {
    match range {
        Some((from, Some(to))) if from > to => None,
        good => Some(good),
    }
}

/// The number that `text` ends with, and what stands before it, if that is anything.
fn trailing_number<'a>(argument: &Argument<'_>, text: &'a [u8]) -> Option<(&'a [u8], u64)> {
    let at = text.iter().rposition(|&byte| byte == b' ')?;
    let (rest, digits) = (text.get(..at)?, text.get(at + 1..)?);
    let number = number(argument.verb, digits).ok()?;
    (!rest.is_empty()).then_some((rest, number))
}

#[cfg(test)]
mod tests {
    use crate::proto::command::{Algorithm, ByteRange, Command, Opts};
    use crate::proto::parse;

    #[test]
    fn ranges() {
        let rang = |text: &str| parse(format!("RANG {text}").as_bytes());
        assert_eq!(rang("1 0"), Ok(Command::Rang(ByteRange::All)));
        assert_eq!(rang("0 0"), Ok(Command::Rang(ByteRange::Inclusive(0, 0))));
        assert_eq!(rang("5 9"), Ok(Command::Rang(ByteRange::Inclusive(5, 9))));
        assert_eq!(rang("9 5"), Ok(Command::Rang(ByteRange::Backwards)));
        for text in ["", "5", "1 2 3", "a b", "-1 5", "0 99999999999999999999"] {
            assert_eq!(rang(text).unwrap_err().code() as u16, 501, "{text}");
        }
    }

    #[test]
    fn algorithms_by_name() {
        let hash = |text: &str| parse(format!("OPTS HASH{text}").as_bytes());
        assert_eq!(hash(""), Ok(Command::Opts(Opts::Hash(None))));
        let sha1 = Opts::Hash(Some(Algorithm::Sha1));
        assert_eq!(hash(" sha-1"), Ok(Command::Opts(sha1)));
        assert_eq!(hash(" CRC-37").unwrap_err().code() as u16, 501);
    }

    #[test]
    fn paths_with_blanks_and_numbers() {
        let digest = |text: &str| match parse(format!("XMD5 {text}").as_bytes()) {
            Ok(Command::Digest(Algorithm::Md5, path, range)) => {
                Some((String::from_utf8(path).unwrap(), range))
            }
            _ => None,
        };
        let some = |path: &str, range| Some((path.to_owned(), range));
        assert_eq!(digest("a"), some("a", None));
        assert_eq!(digest("a b"), some("a b", None));
        assert_eq!(digest("a b 5"), some("a b", Some((5, None))));
        assert_eq!(digest("a 5 10"), some("a", Some((5, Some(10)))));
        assert_eq!(digest("7"), some("7", None));
        assert_eq!(digest("\"a 5\""), some("a 5", None));
        assert_eq!(digest("\"a 5\" 1 2"), some("a 5", Some((1, Some(2)))));
        assert_eq!(digest("\"a"), None);
        assert_eq!(digest("\"a\" b"), None);
        assert_eq!(digest("a 10 5"), None);
        assert_eq!(digest(""), None);
    }
}
