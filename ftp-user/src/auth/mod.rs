//! Who may log in, and as whom: accounts, their rights, passwords and the users file. No FTP here.

mod account;
mod accounts;
mod failures;
mod hash;
mod owner;
mod password;
#[cfg_attr(not(feature = "pam"), path = "no_system.rs")]
mod system;
mod threads;
mod users;

pub use crate::config::Rights;
pub use account::Account;
pub(crate) use account::within;
pub use accounts::Accounts;
pub use failures::{Attempt, Failures, TooManyFailures};
pub use hash::Hash;
pub(crate) use owner::look_up;
pub use password::Password;
pub use users::{ReadUsers, User, Users, UsersFile};

use std::io;
use std::path::PathBuf;

use crate::config::{Problem, lines};
use crate::vfs::CredentialsError;

/// What can go wrong with accounts, outside of a login.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The users file could not be read or written.
    #[error("{}: cannot {action} the users file: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// "read", "lock", "write", ...
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The users file says things that cannot be: a line each, with its place.
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
    /// An account that cannot be as its settings want it.
    #[error("the account \"{account}\" cannot be used: {problem}")]
    Unusable {
        /// Its name.
        account: String,
        /// A sentence.
        problem: String,
    },
    /// Files cannot be used as an account's user.
    #[error("the account \"{account}\" cannot be used: {source}")]
    Credentials {
        /// Its name.
        account: String,
        /// What is in the way.
        source: CredentialsError,
    },
    /// A name that no user can have.
    #[error("\"{}\" cannot be a user's name: {problem}", name.escape_debug())]
    BadName {
        /// The name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There is a user of this name already.
    #[error(
        "there is a user \"{0}\" already; `pinhole user passwd {0}` gives them another password"
    )]
    Exists(String),
    /// There is no user of this name.
    #[error("there is no user \"{name}\" in {}", path.display())]
    Unknown {
        /// The name.
        name: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A password that cannot be one.
    #[error("the password cannot be used: {0}")]
    BadPassword(&'static str),
    /// Users of the host are wanted, by a program that cannot ask PAM.
    #[error(
        "[pam]: this program was built without PAM; build it with `cargo xtask build --pam` \
         (it takes libpam0g-dev or pam-devel), or leave the table out"
    )]
    NoPam,
    /// Hashing failed: no random numbers, or no memory.
    #[error("the password could not be hashed: {0}")]
    Hash(argon2::password_hash::Error),
}
