//! Which host a session is with, where several share an address: RFC 7151 HOST, and the name in the TLS
//! handshake (SNI, RFC 6066 §3). Nothing else of a session knows that there are several.

use super::state::Login;
use super::{Answer, Session};
use crate::auth::Account;
use crate::config::VirtualHost;
use crate::proto::{Code, Reply};
use std::ptr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// The host that the client has named, by a name that it had then, in lower case. Not by its place in
/// the settings: those of the login may be newer. A host that they have no more is the server itself.
#[derive(Debug, Default)]
pub(super) enum Named {
    /// None: the server itself.
    #[default]
    Nothing,
    /// By HOST.
    Said(Box<str>),
    /// In the handshake of the control connection.
    InTls(Box<str>),
}

impl Named {
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Named::Nothing => None,
            Named::Said(name) | Named::InTls(name) => Some(name),
        }
    }

    /// REIN ends what HOST did (RFC 7151 §3.2). TLS goes on, and what was said in it holds.
    pub(super) fn reinitialize(&mut self) {
        match self {
            Named::Nothing | Named::Said(_) => *self = Named::Nothing,
            Named::InTls(_) => {}
        }
    }
}

impl<S> Session<S> {
    /// The settings of the session's host; `None`: all are the server's.
    fn virtual_host(&self) -> Option<&VirtualHost> {
        self.context.config.host(self.named.name()?)
    }

    /// 220 with the host's greeting.
    pub(super) fn greeting(&self) -> Reply {
        let own = self.virtual_host().and_then(|host| host.greeting.clone());
        let text = own.unwrap_or_else(|| self.context.config.greeting.clone());
        Reply::new(Code::ServiceReady, text)
    }

    /// The host's anonymous account, if there are anonymous sessions.
    pub(super) fn anonymous(&self) -> Option<Arc<Account>> {
        let account = self.context.accounts.anonymous()?;
        let own = self
            .virtual_host()
            .and_then(|host| host.anonymous_root.as_deref());
        Some(match own {
            Some(root) => Arc::new(account.within(root)),
            None => account,
        })
    }

    /// HOST. Before USER only: who may log in can depend on it (RFC 7151 §3).
    pub(super) fn host(&mut self, name: &[u8]) -> Answer {
        match self.login {
            Login::Nobody => {}
            Login::Named(_) | Login::User(_) => {
                return Err(Reply::new(Code::BadSequence, "HOST comes before USER."));
            }
        }
        let config = &self.context.config;
        // What is no text was not taken for a name by the parser.
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        if !config.is_host(&name, self.ends.server.ip()) {
            return Err(Reply::new(
                Code::ParameterNotImplemented,
                "No such host here.",
            ));
        }
        let host = config.host(&name);
        match &self.named {
            Named::Nothing | Named::Said(_) => {
                self.named = match host {
                    Some(_) => Named::Said(name.into()),
                    None => Named::Nothing,
                }
            }
            // A client should not ask for another host than the one that it named in its handshake
            // (RFC 6066 §3): that one's certificate is what it has looked at.
            Named::InTls(before) => {
                if host.map(ptr::from_ref) != config.host(before).map(ptr::from_ref) {
                    return Err(Reply::new(
                        Code::ParameterNotImplemented,
                        "TLS was begun with another host.",
                    ));
                }
            }
        }
        Ok(self.greeting())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// After the handshake of the control connection. A host that was named there counts, whatever
    /// HOST said before it: that was in the clear and may be anybody's, and the certificate that the
    /// client has looked at is this host's. A client that names none, or one that we do not know, was
    /// shown the certificate of the host that it is with.
    pub(super) fn named_in_tls(&mut self) {
        if let Some(name) = self.control.server_name()
            && self.context.config.host(name).is_some()
        {
            self.named = Named::InTls(name.into());
        }
    }
}
