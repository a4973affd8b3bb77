//! What a session knows between two commands.

use super::activity::Presence;
use crate::auth::Account;
use crate::proto::command::{Algorithm, Mode, TypeCode};
use crate::vfs::{Tree, VirtualPath};
use std::sync::Arc;

/// How far the login is.
#[derive(Debug)]
pub(super) enum Login {
    /// No USER yet.
    Nobody,
    /// USER was given; PASS has to follow.
    Named(Vec<u8>),
    /// Logged in.
    User(User),
}

/// A logged-in user.
#[derive(Debug)]
pub(super) struct User {
    pub(super) account: Arc<Account>,
    /// What an anonymous user gave as password, while there is a transfer log.
    pub(super) guest: Option<Box<str>>,
    /// For an account with limits.
    pub(super) presence: Option<Arc<Presence>>,
    pub(super) tree: Tree,
    pub(super) directory: VirtualPath,
}

/// What one command leaves for the next.
#[derive(Debug, Default)]
pub(super) enum Pending {
    #[default]
    Nothing,
    /// RNFR: the RNTO has to follow at once (RFC 959 §4.1.3).
    Rename(VirtualPath),
    /// REST: where the next transfer starts.
    Restart(u64),
    /// RANG: the first and the last byte of what the next command is about.
    Range(u64, u64),
}

/// What TYPE, MODE, EPSV ALL and OPTS set.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    pub(super) type_code: TypeCode,
    pub(super) mode: Mode,
    pub(super) deflate_level: DeflateLevel,
    /// What HASH computes.
    pub(super) hash: Algorithm,
    /// RFC 2428 §4: nothing but EPSV may set up a data connection from now on.
    pub(super) epsv_all: bool,
    pub(super) facts: super::list::Facts,
}

/// How hard MODE Z compresses, 0 to 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DeflateLevel(pub(super) u8);

impl Default for DeflateLevel {
    /// zlib's own.
    fn default() -> DeflateLevel {
        DeflateLevel(6)
    }
}
