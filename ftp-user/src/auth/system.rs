//! Users of the host: PAM checks their passwords, the host's databases say who they are. Only with
//! the feature `pam`; without it, `no_system` stands here.
//!
//! PAM modules run inside the daemon, on threads of their own, with its rights.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::{Arc, LazyLock};

use nix::unistd::User;
use nonstick::{
    AuthnFlags, ConversationAdapter, ErrorCode, PamShared as _, Transaction as _,
    TransactionBuilder,
    items::{Items as _, ItemsMut as _},
};

use super::threads::Threads;
use super::{Account, AuthError, Password};
use crate::config::{Config, Pam};

/// Modules may sleep after a wrong password (pam_fail_delay(3)), so these are more than cores.
static ASKING: LazyLock<Threads> = LazyLock::new(|| Threads::new("pam", 16));

/// Users of the host, who may log in.
#[derive(Debug)]
pub(super) struct System {
    config: Arc<Config>,
    settings: Pam,
}

impl System {
    /// `None` where the configuration wants none.
    pub(super) fn load(config: &Config) -> Result<Option<System>, AuthError> {
        Ok(config.pam.clone().map(|settings| System {
            config: Arc::new(config.clone()),
            settings,
        }))
    }

    /// The account of the user `name` of the host, if PAM takes `password` and lets them in. Who is
    /// not there, or is not let in for their number, costs the same: PAM is asked first.
    pub(super) async fn verify(
        &self,
        name: &[u8],
        password: Password,
        client: IpAddr,
    ) -> Option<Arc<Account>> {
        let (config, settings) = (Arc::clone(&self.config), self.settings.clone());
        let name = name.to_vec();
        let asked = ASKING.run(move || log_in(&config, &settings, &name, password, client));
        asked.await.flatten()
    }
}

fn log_in(
    config: &Config,
    settings: &Pam,
    name: &[u8],
    password: Password,
    client: IpAddr,
) -> Option<Arc<Account>> {
    // They end what PAM sees of it.
    if name.contains(&0) || password.as_bytes().contains(&0) {
        return None;
    }
    let user = String::from_utf8_lossy(name);
    match ask(&settings.service, OsStr::from_bytes(name), password, client) {
        Ok(()) => {}
        Err((_, ErrorCode::AuthenticationError | ErrorCode::UserUnknown | ErrorCode::MaxTries)) => {
            return None;
        }
        Err((what, error)) => {
            tracing::warn!(user = &*user, %client, service = settings.service, what, %error,
                "PAM lets nobody in");
            return None;
        }
    }
    match account(config, settings, &user) {
        Ok(account) => Some(Arc::new(account)),
        Err(reason) => {
            tracing::warn!(
                user = &*user,
                %client,
                reason,
                "a user whom PAM lets in does not get in"
            );
            None
        }
    }
}

/// Asks PAM, once for the password and once for the account; the error says which.
fn ask(
    service: &str,
    name: &OsStr,
    password: Password,
    client: IpAddr,
) -> Result<(), (&'static str, ErrorCode)> {
    let at = |what| move |error| (what, error);
    let mut transaction = TransactionBuilder::new_with_service(service)
        .username(name)
        .build(Answers(password).into_conversation())
        .map_err(at("start"))?;
    let host = client.to_string();
    let items = transaction.items_mut().set_remote_host(Some(host.as_ref()));
    items.map_err(at("remote host"))?;
    transaction
        .authenticate(AuthnFlags::empty())
        .map_err(at("password"))?;
    transaction
        .account_management(AuthnFlags::empty())
        .map_err(at("account"))?;
    // A module may have put another user in the place of this one (pam_get_user(3)).
    let user = transaction.items().user().map_err(at("name"))?;
    match user.is_some_and(|user| user == name) {
        true => Ok(()),
        false => Err(("another name", ErrorCode::PermissionDenied)),
    }
}

/// Answers what is asked in the dark with the password, and nothing else: a second factor cannot be
/// asked for over FTP.
struct Answers(Password);

impl ConversationAdapter for Answers {
    fn prompt(&self, _request: impl AsRef<OsStr>) -> nonstick::Result<OsString> {
        Err(ErrorCode::ConversationError)
    }

    fn masked_prompt(&self, _request: impl AsRef<OsStr>) -> nonstick::Result<OsString> {
        Ok(OsStr::from_bytes(self.0.as_bytes()).to_owned())
    }

    fn error_msg(&self, message: impl AsRef<OsStr>) {
        tracing::debug!(message = ?message.as_ref(), "PAM says");
    }

    fn info_msg(&self, message: impl AsRef<OsStr>) {
        tracing::debug!(message = ?message.as_ref(), "PAM says");
    }
}

/// The error is a sentence for the admin.
fn account(config: &Config, settings: &Pam, name: &str) -> Result<Account, String> {
    let entry = User::from_name(name)
        .map_err(|error| format!("the host's users cannot be looked up: {error}"))?
        .ok_or("this host has no such user")?;
    let uid = entry.uid.as_raw();
    if uid < settings.min_uid {
        return Err(format!(
            "uid {uid} is below pam.min_uid, {}",
            settings.min_uid
        ));
    }
    Account::of_host(&entry, settings.rights, config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_own_users_and_root_do_not_get_in() {
        let config = Config::default();
        let said = |name: &str, min_uid| {
            let settings = Pam {
                min_uid,
                ..Pam::default()
            };
            account(&config, &settings, name)
        };
        assert!(
            said("daemon", 1000)
                .unwrap_err()
                .contains("below pam.min_uid")
        );
        assert!(said("root", 0).unwrap_err().contains("uid 0"));
        assert!(
            said("no such user", 0)
                .unwrap_err()
                .contains("no such user")
        );
        let daemon = said("daemon", 1).unwrap();
        let owner = daemon.credentials.as_ref().unwrap().owner.as_ref().unwrap();
        assert_ne!(owner.uid.as_raw(), 0);
        assert!(daemon.root.is_absolute());
    }
}
