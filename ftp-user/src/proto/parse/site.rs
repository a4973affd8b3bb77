//! SITE's arguments. No RFC has them: CHMOD is as every server for Unix knows it, UTIME has the two
//! forms that clients send, SYMLINK is ProFTPD's.

use super::words::words;
use super::{Argument, CommandError};
use crate::proto::command::Site;
use crate::proto::timestamp::parse_timestamp;
use std::time::SystemTime;

/// Permission bits that clients may set: a file of another's with a set-id bit would run as them.
const MODES: u32 = 0o777;

pub(super) fn site(argument: &Argument<'_>) -> Result<Site, CommandError> {
    let text = argument.required()?;
    let (name, rest) = match text.iter().position(|&byte| byte == b' ') {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (&text[..], &text[text.len()..]),
    };
    let malformed = CommandError::Malformed(argument.verb);
    match &name.to_ascii_uppercase()[..] {
        b"HELP" => Ok(Site::Help),
        b"QUOTA" => Ok(Site::Quota),
        b"CHMOD" => chmod(rest).ok_or(malformed)?,
        b"UTIME" => utime(rest).ok_or(malformed),
        b"SYMLINK" => symlink(rest).ok_or(malformed),
        _ => Err(CommandError::UnknownSite),
    }
}

fn chmod(text: &[u8]) -> Option<Result<Site, CommandError>> {
    let (mode, path) = split(text)?;
    let digits = std::str::from_utf8(mode).ok()?;
    if !(1..=4).contains(&digits.len()) || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let mode = u32::from_str_radix(digits, 8).ok()?;
    Some(if mode > MODES {
        Err(CommandError::SpecialMode)
    } else {
        Ok(Site::Chmod(mode, path.to_vec()))
    })
}

fn utime(text: &[u8]) -> Option<Site> {
    if let Some(site) = utime_of_three(text) {
        return Some(site);
    }
    let (time, path) = split(text)?;
    Some(Site::Utime {
        accessed: None,
        modified: time_of_day(time)?,
        path: path.to_vec(),
    })
}

/// `path accessed modified created UTC`. The path may have blanks in it, so this is read from its end.
fn utime_of_three(text: &[u8]) -> Option<Site> {
    let mut from_the_end = text.rsplitn(5, |&byte| byte == b' ');
    let zone = from_the_end.next()?;
    let _created = time_of_day(from_the_end.next()?)?;
    let modified = time_of_day(from_the_end.next()?)?;
    let accessed = time_of_day(from_the_end.next()?)?;
    let path = from_the_end.next()?.to_vec();
    (zone.eq_ignore_ascii_case(b"UTC") && !path.is_empty()).then_some(Site::Utime {
        accessed: Some(accessed),
        modified,
        path,
    })
}

/// YYYYMMDDhhmmss, or without the seconds.
fn time_of_day(text: &[u8]) -> Option<SystemTime> {
    match text.len() {
        12 => parse_timestamp(&[text, b"00"].concat()),
        14 => parse_timestamp(text),
        _ => None,
    }
}

fn symlink(text: &[u8]) -> Option<Site> {
    let [target, link] = <[Vec<u8>; 2]>::try_from(words(text)?).ok()?;
    (!target.is_empty() && !link.is_empty()).then_some(Site::Symlink { target, link })
}

fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&byte| byte == b' ')?;
    let (first, rest) = (text.get(..at)?, text.get(at + 1..)?);
    (!rest.is_empty()).then_some((first, rest))
}

#[cfg(test)]
mod tests {
    use crate::proto::command::{Command, Site};
    use crate::proto::parse;
    use std::time::{Duration, UNIX_EPOCH};

    fn site(text: &str) -> Result<Site, u16> {
        match parse(format!("SITE {text}").as_bytes()) {
            Ok(Command::Site(site)) => Ok(site),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.code() as u16),
        }
    }

    #[test]
    fn modes_are_octal_and_never_special() {
        assert_eq!(site("chmod 644 a b"), Ok(Site::Chmod(0o644, b"a b".into())));
        assert_eq!(site("CHMOD 0755 x"), Ok(Site::Chmod(0o755, b"x".into())));
        for (text, code) in [
            ("CHMOD 4755 x", 504),
            ("CHMOD 1000 x", 504),
            ("CHMOD 888 x", 501),
            ("CHMOD +x x", 501),
            ("CHMOD 644", 501),
            ("CHMOD 644 ", 501),
            ("CHMOD 00644 x", 501),
            ("CHMOD", 501),
        ] {
            assert_eq!(site(text), Err(code), "{text}");
        }
    }

    #[test]
    fn both_forms_of_utime() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(
            site("UTIME 20010909014640 a b"),
            Ok(Site::Utime {
                accessed: None,
                modified: at(1_000_000_000),
                path: b"a b".into(),
            })
        );
        assert_eq!(
            site("UTIME 200109090146 a"),
            Ok(Site::Utime {
                accessed: None,
                modified: at(999_999_960),
                path: b"a".into(),
            })
        );
        assert_eq!(
            site("utime a b 20010909014641 20010909014640 20010909014642 utc"),
            Ok(Site::Utime {
                accessed: Some(at(1_000_000_001)),
                modified: at(1_000_000_000),
                path: b"a b".into(),
            })
        );
        for text in ["UTIME", "UTIME a", "UTIME 2001 a", "UTIME 20011309014640 a"] {
            assert_eq!(site(text), Err(501), "{text}");
        }
    }

    #[test]
    fn a_link_has_two_names() {
        assert_eq!(
            site("SYMLINK \"a b\" c"),
            Ok(Site::Symlink {
                target: b"a b".into(),
                link: b"c".into(),
            })
        );
        for text in ["SYMLINK a", "SYMLINK a b c", "SYMLINK \"\" b"] {
            assert_eq!(site(text), Err(501), "{text}");
        }
    }
}
