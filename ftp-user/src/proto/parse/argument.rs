//! A verb's argument: what stands behind the first space, and the forms that many verbs share.

use super::CommandError;
use crate::proto::command::{Command, Verb};

pub(super) struct Argument<'a> {
    pub(super) verb: Verb,
    pub(super) bytes: &'a [u8],
}

impl<'a> Argument<'a> {
    /// Without blanks around it. Not for paths.
    pub(super) fn word(&self) -> &'a [u8] {
        self.bytes.trim_ascii()
    }

    pub(super) fn required_word(&self) -> Result<&'a [u8], CommandError> {
        match self.word() {
            b"" => Err(CommandError::Missing(self.verb)),
            word => Ok(word),
        }
    }

    pub(super) fn none(&self, command: Command) -> Result<Command, CommandError> {
        if self.word().is_empty() {
            Ok(command)
        } else {
            Err(CommandError::Unexpected(self.verb))
        }
    }

    pub(super) fn optional(&self) -> Option<Vec<u8>> {
        (!self.bytes.is_empty()).then(|| self.bytes.to_vec())
    }

    pub(super) fn required(&self) -> Result<Vec<u8>, CommandError> {
        self.optional().ok_or(CommandError::Missing(self.verb))
    }

    pub(super) fn one_of(
        &self,
        ok: &[u8],
        known: &[u8],
        command: Command,
    ) -> Result<Command, CommandError> {
        match self.required_word()? {
            [letter] if ok.contains(&letter.to_ascii_uppercase()) => Ok(command),
            [letter] if known.contains(&letter.to_ascii_uppercase()) => {
                Err(CommandError::Unsupported(self.verb))
            }
            _ => Err(CommandError::Malformed(self.verb)),
        }
    }
}

/// Digits only, and no more than a file offset holds.
pub(super) fn number<N: TryFrom<i64>>(verb: Verb, digits: &[u8]) -> Result<N, CommandError> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(CommandError::Malformed(verb));
    }
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse::<i64>().ok())
        .and_then(|number| N::try_from(number).ok())
        .ok_or(CommandError::OutOfRange)
}
