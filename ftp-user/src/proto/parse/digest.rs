//! The arguments of RANG, OPTS HASH and of the verbs that are named after a hash.

use super::words::words;
use super::{Argument, CommandError, number};
use crate::proto::command::{Algorithm, ByteRange, Command, Reading};

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
/// the numbers, or the numbers are part of it, too: what is there decides.
pub(super) fn digest(
    argument: &Argument<'_>,
    algorithm: Algorithm,
) -> Result<Command, CommandError> {
    let text = argument.required()?;
    let (reading, longer) = match text.first() {
        Some(b'"') => (quoted(argument, &text)?, Vec::new()),
        _ => unquoted(argument, &text),
    };
    Ok(Command::Digest(algorithm, reading, longer))
}

fn quoted(argument: &Argument<'_>, text: &[u8]) -> Result<Reading, CommandError> {
    let malformed = CommandError::Malformed(argument.verb);
    let mut words = words(text).ok_or(malformed)?.into_iter();
    let path = words.next().filter(|path| !path.is_empty());
    let path = path.ok_or(malformed)?;
    let mut numbers = words.map(|word| number(argument.verb, &word));
    let (from, to) = (numbers.next().transpose()?, numbers.next().transpose()?);
    match numbers.next() {
        None => Ok(Reading {
            path,
            range: from.map(|from| (from, to)),
        }),
        Some(_) => Err(malformed),
    }
}

/// With those whose names are longer.
fn unquoted(argument: &Argument<'_>, text: &[u8]) -> (Reading, Vec<Reading>) {
    let read = |path: &[u8], range| Reading {
        path: path.to_vec(),
        range,
    };
    let whole = read(text, None);
    let Some((path, last)) = trailing_number(argument, text) else {
        return (whole, Vec::new());
    };
    let from = read(path, Some((last, None)));
    match trailing_number(argument, path) {
        None => (from, vec![whole]),
        Some((path, first)) => (read(path, Some((first, Some(last)))), vec![whole, from]),
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
            Ok(Command::Digest(Algorithm::Md5, reading, longer)) => longer
                .into_iter()
                .chain([reading])
                .map(|reading| (String::from_utf8(reading.path).unwrap(), reading.range))
                .collect(),
            _ => Vec::new(),
        };
        let one = |path: &str, range| vec![(path.to_owned(), range)];
        assert_eq!(digest("a"), one("a", None));
        assert_eq!(digest("a b"), one("a b", None));
        assert_eq!(digest("7"), one("7", None));
        let two = [one("a b 5", None), one("a b", Some((5, None)))].concat();
        assert_eq!(digest("a b 5"), two);
        let three = [
            one("a 5 10", None),
            one("a 5", Some((10, None))),
            one("a", Some((5, Some(10)))),
        ];
        assert_eq!(digest("a 5 10"), three.concat());
        assert_eq!(digest("\"a 5\""), one("a 5", None));
        assert_eq!(digest("\"a 5\" 1"), one("a 5", Some((1, None))));
        assert_eq!(digest("\"a 5\" 1 2"), one("a 5", Some((1, Some(2)))));
        for text in ["\"a", "\"a\" b", "\"a\" 1 b", "\"a\" 1 2 3", "\"\" 1", ""] {
            assert_eq!(digest(text), [], "{text}");
        }
    }
}
