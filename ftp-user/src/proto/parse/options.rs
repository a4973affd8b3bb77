//! RFC 2389: the arguments of OPTS, each of another command's document (RFC 2640, RFC 3659,
//! draft-bryan-ftpext-hash-02, draft-preston-ftpext-deflate).

use super::{Argument, CommandError, digest};
use crate::proto::command::Opts;

pub(super) fn opts(argument: &Argument<'_>) -> Result<Opts, CommandError> {
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
