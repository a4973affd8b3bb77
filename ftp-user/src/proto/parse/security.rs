//! RFC 2228 and RFC 4217: the arguments of AUTH, PBSZ and PROT.

use super::{Argument, CommandError, number};
use crate::proto::command::{Command, Mechanism, Protection};

/// `SSL` and `TLS-P` mean TLS with PROT P already given, which RFC 4217 leaves out on purpose: a
/// client has to ask for what it gets.
pub(super) fn mechanism(argument: &Argument<'_>) -> Result<Mechanism, CommandError> {
    match &argument.required_word()?.to_ascii_uppercase()[..] {
        b"TLS" | b"TLS-C" => Ok(Mechanism::Tls),
        _ => Err(CommandError::Unsupported(argument.verb)),
    }
}

/// The size is 32 bits (RFC 2228 §3) and means nothing to TLS (RFC 4217 §9).
pub(super) fn pbsz(argument: &Argument<'_>) -> Result<Command, CommandError> {
    number::<u32>(argument.verb, argument.required_word()?).map(|_| Command::Pbsz)
}

pub(super) fn protection(argument: &Argument<'_>) -> Result<Protection, CommandError> {
    match &argument.required_word()?.to_ascii_uppercase()[..] {
        b"C" => Ok(Protection::Clear),
        b"P" => Ok(Protection::Private),
        b"S" | b"E" => Ok(Protection::NotByTls),
        _ => Err(CommandError::Unsupported(argument.verb)),
    }
}
