//! RFC 4217: AUTH PBSZ PROT CCC, and what a session asks of TLS.

mod data;
mod handshake;

pub(super) use self::data::{Secure, begin, carry};
use super::state::{Login, Parameters, Pending};
use super::{Answer, Session};
use crate::auth::Account;
use crate::config::{Binding, TlsPolicy, Use};
use crate::negotiate::Negotiated;
use crate::proto::command::Protection;
use crate::proto::{Code, Reply};
use crate::tls::SessionTls;

/// Lines that are no commands, before the login: who speaks another protocol than FTP (a browser
/// that was sent here, RFC 4217 knows nothing of it: the ALPACA attack) says more of them.
const MOST_STRANGE_LINES: u32 = 8;

/// How a session is protected.
#[derive(Debug, Default)]
pub(super) enum Security {
    /// Not at all.
    #[default]
    Clear,
    /// 234 is said; the handshake follows.
    Handshaking,
    /// By TLS.
    Tls(Box<Secured>),
}

/// What AUTH, PBSZ, PROT and CCC have set.
#[derive(Debug)]
pub(super) struct Secured {
    tls: SessionTls,
    /// As it was configured with the certificate.
    binding: Binding,
    control: ControlPlane,
    pbsz: bool,
    data: Protection,
    /// What `data` is until PROT says otherwise.
    unsaid: Protection,
}

/// The control connection's own protection, once there has been TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ControlPlane {
    Protected,
    /// 200 is said to CCC; TLS ends next.
    Clearing,
    Clear,
}

impl Security {
    /// Does the control connection change with the reply that was just sent?
    pub(super) fn is_changing(&self) -> bool {
        match self {
            Security::Clear => false,
            Security::Handshaking => true,
            Security::Tls(secured) => secured.control == ControlPlane::Clearing,
        }
    }

    fn control_is_protected(&self) -> bool {
        match self {
            Security::Clear | Security::Handshaking => false,
            Security::Tls(secured) => secured.control == ControlPlane::Protected,
        }
    }
}

impl<S> Session<S> {
    /// What the listener asks; an account may ask for more once somebody has logged in to it.
    pub(super) fn listener_policy(&self) -> TlsPolicy {
        self.context.config.tls_policy(self.listener.into())
    }

    /// Holds the session to what its account asks as well.
    pub(super) fn tighten(&mut self, account: &Account) {
        self.tls_policy.control = self.tls_policy.control.with(account.tls);
        self.tls_policy.data = self.tls_policy.data.with(account.tls_data);
    }

    /// AUTH TLS. The handshake follows the reply.
    pub(super) fn auth_tls(&mut self) -> Answer {
        match self.listener_policy().control {
            Use::Off => {
                return Err(Reply::new(
                    Code::NotImplemented,
                    "TLS is not configured here.",
                ));
            }
            Use::Allow | Use::Require => {}
        }
        if self.security.control_is_protected() {
            return Err(Reply::new(
                Code::BadSequence,
                "The control connection is protected already.",
            ));
        }
        // RFC 2228 §3: what earlier security commands set is gone, and the user logs in again.
        self.security = Security::Handshaking;
        self.log_out();
        self.tls_policy = self.listener_policy();
        self.parameters = Parameters::default();
        self.pending = Pending::Nothing;
        self.negotiated = Negotiated::Nothing;
        Ok(Reply::new(
            Code::AuthAccepted,
            "Go on with the TLS handshake.",
        ))
    }

    /// PBSZ. The size of a buffer that TLS has no use for: always 0 (RFC 4217 §9).
    pub(super) fn pbsz(&mut self) -> Answer {
        self.secured()?.pbsz = true;
        Ok(Reply::new(Code::Okay, "PBSZ=0"))
    }

    pub(super) fn prot(&mut self, protection: Protection) -> Answer {
        let policy = self.tls_policy.data;
        let secured = self.secured()?;
        if !secured.pbsz {
            return Err(Reply::new(Code::BadSequence, "PBSZ 0 comes first."));
        }
        let text = match (protection, policy) {
            (Protection::NotByTls, _) => {
                return Err(Reply::new(
                    Code::ProtectionNotSupported,
                    "TLS gives C or P, nothing between.",
                ));
            }
            (Protection::Clear, Use::Require) => {
                return Err(Reply::new(
                    Code::DeniedByPolicy,
                    "Data connections must be protected here: PROT P.",
                ));
            }
            (Protection::Private, Use::Off) => {
                return Err(Reply::new(
                    Code::DeniedByPolicy,
                    "Data connections are not protected here: PROT C.",
                ));
            }
            (Protection::Clear, Use::Off | Use::Allow) => "Data connections are clear.",
            (Protection::Private, Use::Allow | Use::Require) => "Data connections are private.",
        };
        secured.data = protection;
        Ok(Reply::new(Code::Okay, text))
    }

    /// CCC: TLS ends on the control connection, after the reply. PROT stays as it is.
    pub(super) fn ccc(&mut self) -> Answer {
        let policy = self.tls_policy.control;
        let protected = self.security.control_is_protected();
        match (&mut self.security, policy) {
            (Security::Tls(secured), Use::Allow) if protected => {
                secured.control = ControlPlane::Clearing;
                Ok(Reply::new(
                    Code::Okay,
                    "The control connection goes on in the clear.",
                ))
            }
            (Security::Tls(_), Use::Off | Use::Require) if protected => Err(Reply::new(
                Code::DeniedByPolicy,
                "The control connection stays protected here.",
            )),
            (Security::Tls(_) | Security::Clear | Security::Handshaking, _) => Err(Reply::new(
                // RFC 2228 §3 has this for a connection that is not protected.
                Code::BadSequence,
                "The control connection is clear.",
            )),
        }
    }

    fn secured(&mut self) -> Result<&mut Secured, Reply> {
        match &mut self.security {
            Security::Tls(secured) => Ok(secured),
            Security::Clear | Security::Handshaking => {
                Err(Reply::new(Code::BadSequence, "AUTH TLS comes first."))
            }
        }
    }

    /// REIN: PBSZ and PROT are parameters. TLS itself stays, whatever RFC 4217 §11 says, so that nobody's
    /// next password is sent in the clear because of it.
    pub(super) fn forget_protection(&mut self) {
        if let Security::Tls(secured) = &mut self.security {
            secured.pbsz = false;
            secured.data = secured.unsaid;
        }
    }

    /// May a USER be named on this connection?
    pub(super) fn may_log_in(&self) -> Result<(), Reply> {
        let required = self.tls_policy.control == Use::Require;
        if required && !self.control_is_protected() {
            return Err(Reply::new(
                Code::NotLoggedIn,
                "Protect the connection first: AUTH TLS.",
            ));
        }
        Ok(())
    }

    /// Does TLS protect what the client says now?
    pub(super) fn control_is_protected(&self) -> bool {
        self.security.control_is_protected()
    }

    /// The FEAT lines of RFC 4217 §6.
    pub(super) fn tls_features(&self) -> &'static [&'static str] {
        match self.tls_policy.control {
            // What an implicit connection still can do.
            Use::Off if self.control_is_protected() => &["PBSZ", "PROT"],
            Use::Off => &[],
            Use::Allow => &["AUTH TLS", "CCC", "PBSZ", "PROT"],
            Use::Require => &["AUTH TLS", "PBSZ", "PROT"],
        }
    }

    /// Counts a line that is no command. Too many before the login end the session.
    pub(super) fn strange(&mut self, reply: Reply) -> Reply {
        match self.login {
            Login::User(_) => return reply,
            Login::Nobody | Login::Named(_) => self.strange_lines += 1,
        }
        if self.strange_lines < MOST_STRANGE_LINES {
            return reply;
        }
        tracing::warn!(session = self.id, client = %self.ends.client.ip(), "does not speak FTP");
        Reply::new(Code::ServiceUnavailable, "This is an FTP server.")
    }
}
