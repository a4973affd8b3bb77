//! Why a line is not a command, and the reply that says so.

use crate::proto::address::AddressError;
use crate::proto::command::Verb;
use crate::proto::reply::{Code, Reply};

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
    /// An LF, which comes as NUL, where no name is.
    #[error("Command line holds a NUL byte.")]
    Nul,
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
            | CommandError::Nul
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
