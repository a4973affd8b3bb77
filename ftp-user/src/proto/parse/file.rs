//! The arguments of MFMT (draft-somers-ftp-mfxx-04) and of COMB, which no RFC has.

use super::{Argument, CommandError, words};
use crate::proto::command::Command;
use crate::proto::timestamp::parse_timestamp;

/// `MFMT time path` (draft-somers-ftp-mfxx-04 §3.1)
pub(super) fn mfmt(argument: &Argument<'_>) -> Result<Command, CommandError> {
    let text = argument.required()?;
    let malformed = CommandError::Malformed(argument.verb);
    let at = text.iter().position(|&b| b == b' ').ok_or(malformed)?;
    let (time, path) = (&text[..at], &text[at + 1..]);
    match parse_timestamp(time) {
        Some(time) if !path.is_empty() => Ok(Command::Mfmt(time, path.to_vec())),
        Some(_) | None => Err(malformed),
    }
}

pub(super) fn comb(argument: &Argument<'_>) -> Result<Command, CommandError> {
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
