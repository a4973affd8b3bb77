//! RFC 959: the arguments of TYPE, MODE and ALLO.

use super::{Argument, CommandError, number};
use crate::proto::command::{Command, Mode, TypeCode};

pub(super) fn type_code(argument: &Argument<'_>) -> Result<TypeCode, CommandError> {
    match &argument.required_word()?.to_ascii_uppercase()[..] {
        b"A" | b"A N" => Ok(TypeCode::Ascii),
        // The second as clients of vsftpd and Pure-FTPd may send it.
        b"I" | b"L8" | b"L 8" => Ok(TypeCode::Image),
        b"E" | b"E N" | b"E T" | b"E C" | b"A T" | b"A C" => {
            Err(CommandError::Unsupported(argument.verb))
        }
        [b'L', b' ', size @ ..] if number::<u8>(argument.verb, size).is_ok() => {
            Err(CommandError::Unsupported(argument.verb))
        }
        _ => Err(CommandError::Malformed(argument.verb)),
    }
}

pub(super) fn mode(argument: &Argument<'_>) -> Result<Mode, CommandError> {
    match &argument.required_word()?.to_ascii_uppercase()[..] {
        b"S" => Ok(Mode::Stream),
        b"Z" => Ok(Mode::Deflate),
        b"B" | b"C" => Err(CommandError::Unsupported(argument.verb)),
        _ => Err(CommandError::Malformed(argument.verb)),
    }
}

/// `ALLO <bytes> [R <record size>]`
pub(super) fn allo(argument: &Argument<'_>) -> Result<Command, CommandError> {
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
