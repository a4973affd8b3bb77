//! Where the next data connection comes from: named by us (`passive`) or by the client (`active`).
//!
//! Nothing here moves a file's bytes.

mod active;
mod passive;

pub use active::{CheckedPeer, ConnectError, PeerError, connect};
pub use passive::{Asking, PassiveError, epsv, pasv};

use crate::pinholes::PassivePort;

/// What a session has negotiated and not yet used.
#[derive(Debug, Default)]
pub enum Negotiated {
    /// Nothing: a transfer is answered with 425.
    #[default]
    Nothing,
    /// PASV or EPSV: a pinhole waits for the client.
    Passive(PassivePort),
    /// PORT or EPRT: the client waits for us.
    Active(CheckedPeer),
}
