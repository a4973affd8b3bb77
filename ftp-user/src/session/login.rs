//! RFC 959 §4.1.1, access control: USER PASS ACCT REIN.

use super::activity::{self, TooManySessions};
use super::state::{Login, Parameters, Pending, User};
use super::{Answer, Session};
use crate::auth::{Account, Accounts, Password};
use crate::config::Use;
use crate::disk::{self, DiskError};
use crate::negotiate::Negotiated;
use crate::proto::command::Secret;
use crate::proto::{Code, Reply};
use crate::vfs::VirtualPath;
use std::sync::Arc;
use tokio::time::Instant;

/// Bytes of what a guest says that are kept.
const MOST_OF_A_GUEST: usize = 128;

impl<S> Session<S> {
    /// USER. A second one starts the login over (RFC 959 §4.1.1).
    pub(super) fn user_name(&mut self, name: Vec<u8>) -> Answer {
        self.negotiated = Negotiated::Nothing;
        // Before anything is refused: who was logged in would go on under newer settings, without what
        // the account asks.
        self.log_out();
        self.renew();
        self.may_log_in()?;
        let text = if Accounts::is_anonymous(&name) && self.context.accounts.anonymous().is_some() {
            "Anonymous login: send your e-mail address as password."
        } else {
            "Password, please."
        };
        self.login = Login::Named(name);
        Ok(Reply::new(Code::NeedPassword, text))
    }

    pub(super) async fn pass(&mut self, password: Secret) -> Answer {
        let name = match std::mem::replace(&mut self.login, Login::Nobody) {
            Login::Named(name) => name,
            other => {
                self.login = other;
                return Err(Reply::new(Code::BadSequence, "USER comes first."));
            }
        };
        // Who was removed since USER does not get in.
        self.renew();
        self.may_log_in()?;
        match Accounts::is_anonymous(&name) {
            true => {
                let account = self
                    .anonymous()
                    // Nobody's password has been guessed at: the next one, who has one, does not wait.
                    .ok_or_else(|| self.refuse(&name, "there are no anonymous sessions"))?;
                let guest = self.guest(password.into_bytes());
                self.enter(account, guest).await
            }
            false => {
                let password = Password::new(password.into_bytes());
                let account = self.admit(&name, password).await?;
                self.enter(account, None).await
            }
        }
    }

    /// Who a guest says they are (RFC 1635), if that is written down.
    fn guest(&self, said: Vec<u8>) -> Option<Box<str>> {
        let wanted = self.context.xferlog.is_on() && !said.is_empty();
        let said = said.get(..MOST_OF_A_GUEST).unwrap_or(&said);
        wanted.then(|| String::from_utf8_lossy(said).into())
    }

    /// Takes the newest settings: those of a login are those of its session.
    fn renew(&mut self) {
        self.context = self.shared.newest.get();
        self.tls_policy = self.listener_policy();
    }

    /// The account whose password this is. Where guesses have failed, the next ones wait; other
    /// networks' do not. Whoever is turned away is told no more than somebody who has guessed.
    async fn admit(&mut self, name: &[u8], password: Password) -> Result<Arc<Account>, Reply> {
        let client = self.ends.client.ip();
        let shared = Arc::clone(&self.shared);
        let Ok(attempt) = shared.failures.attempt(client, name).await else {
            tracing::warn!(session = self.id, %client, "login refused: too many failed before");
            return Err(Reply::new(
                Code::ServiceUnavailable,
                "Too many failed logins from your address; try again later.",
            ));
        };
        let (accounts, protected) = (&self.context.accounts, self.control_is_protected());
        match accounts.admit(name, password, client, protected).await {
            Ok(account) => {
                attempt.succeeded();
                Ok(account)
            }
            Err(reason) => {
                drop(attempt);
                Err(self.refuse(name, reason))
            }
        }
    }

    async fn enter(&mut self, account: Arc<Account>, guest: Option<Box<str>>) -> Answer {
        let (session, client) = (self.id, self.ends.client.ip());
        let user = account.name.clone();
        let presence = match self.shared.activity.enter(&account) {
            Ok(presence) => presence.map(Arc::new),
            Err(TooManySessions(most)) => {
                tracing::warn!(session, %client, user, most, "login refused: too many sessions");
                return Err(Reply::new(
                    Code::NotLoggedIn,
                    "Too many sessions of this account; try again later.",
                ));
            }
        };
        let uploads = &self.context.config.uploads;
        let rules = activity::rules(&account, presence.as_deref(), uploads);
        let counts = rules.as_ref().is_some_and(|rules| rules.count());
        let opening = Arc::clone(&account);
        disk::work_beneath(&account.root);
        let opened = disk::run(counts, move || opening.tree(rules)).await;
        let tree = match opened {
            Ok(Ok(tree)) => tree,
            Ok(Err(error)) => {
                tracing::error!(session, %client, user, %error, "login: no root directory");
                return Err(Reply::new(
                    Code::NotLoggedIn,
                    "Your directory is not available.",
                ));
            }
            Err(DiskError::Crowded(crowded)) => {
                tracing::warn!(session, %client, user, "login: {crowded}");
                return Err(Reply::new(
                    Code::NotLoggedIn,
                    "Your directory does not answer in time; try again later.",
                ));
            }
            Err(DiskError::Worker(error)) => {
                tracing::error!(session, %client, user, %error, "login: a file worker failed");
                return Err(Reply::new(Code::NotLoggedIn, "Internal error."));
            }
        };
        let tls = self.control_is_protected();
        let host = self.named.name();
        tracing::info!(session, %client, user, tls, host, "login");
        self.login_failures = 0;
        self.tighten(&account);
        self.login = Login::User(User {
            account,
            guest,
            presence,
            tree,
            directory: VirtualPath::root(),
        });
        Ok(Reply::new(Code::LoggedIn, "Logged in."))
    }

    fn refuse(&mut self, name: &[u8], reason: &'static str) -> Reply {
        self.login_failures += 1;
        let failures = self.login_failures;
        // A string, so that the log quotes it.
        let user = String::from_utf8_lossy(name.get(..64).unwrap_or(name));
        tracing::warn!(session = self.id, client = %self.ends.client.ip(), user = &*user, failures,
            reason, "login refused");
        if failures >= self.context.config.limits.login_failures {
            return Reply::new(Code::ServiceUnavailable, "Too many failed logins.");
        }
        // The same for every name and every reason.
        let text = match self.tls_policy.control {
            Use::Allow if !self.control_is_protected() => {
                "Login incorrect, or AUTH TLS has to come first."
            }
            Use::Off | Use::Allow | Use::Require => "Login incorrect.",
        };
        Reply::new(Code::NotLoggedIn, text)
    }

    pub(super) fn acct(&self) -> Answer {
        Ok(Reply::new(Code::Superfluous, "No account is needed."))
    }

    /// Nobody is logged in from here on. Who was has the whole time for a login again; before a login,
    /// nothing puts the end of that off.
    pub(super) fn log_out(&mut self) {
        if let Login::User(_) = std::mem::replace(&mut self.login, Login::Nobody) {
            self.unknown_since = Instant::now();
        }
    }

    /// REIN: as after the greeting (RFC 959 §4.1.1).
    pub(super) fn rein(&mut self) -> Answer {
        self.log_out();
        self.tls_policy = self.listener_policy();
        self.parameters = Parameters::default();
        self.pending = Pending::Nothing;
        self.negotiated = Negotiated::Nothing;
        self.forget_protection();
        self.named.reinitialize();
        Ok(Reply::new(Code::ServiceReady, "Ready for a new user."))
    }
}
