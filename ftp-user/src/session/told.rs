//! What the log is told of a session's work: whose it is, and an event for each change that is no
//! transfer.

use super::Session;
use super::state::Login;
use crate::pinholes::SessionId;
use crate::vfs::VirtualPath;
use std::borrow::Cow;
use std::net::IpAddr;

/// For what logs without the session at hand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whose {
    pub(super) session: SessionId,
    pub(super) client: IpAddr,
}

/// What is to be known of a change beside its verb and path.
pub(super) enum Change<'a> {
    /// Nothing.
    Plain,
    /// Where it is now.
    RenamedTo(&'a VirtualPath),
    /// Its permission bits.
    Mode(u32),
    /// What the link says.
    PointsTo(&'a [u8]),
    /// What was appended to it, and removed.
    Parts(&'a [VirtualPath]),
}

impl<S> Session<S> {
    pub(super) fn whose(&self) -> Whose {
        Whose {
            session: self.id,
            client: self.ends.client.ip(),
        }
    }

    /// Whoever is logged in.
    pub(super) fn who(&self) -> &str {
        match &self.login {
            Login::User(user) => &user.account.name,
            Login::Nobody | Login::Named(_) => "",
        }
    }

    /// To be called for each change that was made and that no transfer's event tells of.
    pub(super) fn changed(&self, verb: &'static str, path: &VirtualPath, change: &Change<'_>) {
        let Whose { session, client } = self.whose();
        let user = self.who();
        let (mut new_path, mut mode, mut points_to, mut parts) = (None, None, None, None);
        match change {
            Change::Plain => {}
            Change::RenamedTo(path) => new_path = Some(shown(path)),
            Change::Mode(bits) => mode = Some(format!("{bits:03o}")),
            Change::PointsTo(target) => points_to = Some(String::from_utf8_lossy(target)),
            Change::Parts(paths) => parts = Some(format!("{paths:?}")),
        }
        tracing::info!(session, %client, user, verb, path = &*shown(path),
            new_path = new_path.as_deref(), mode, points_to = points_to.as_deref(), parts, "change");
    }
}

/// A string, not what displays itself: so the log quotes it.
pub(super) fn shown(path: &VirtualPath) -> Cow<'_, str> {
    String::from_utf8_lossy(path.as_bytes())
}
