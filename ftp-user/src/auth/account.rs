//! One account: who it is, what it may do where, and as whom. Made from settings when they are loaded.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::Mode;

use super::owner::owner;
use super::{Rights, User};
use crate::config::{AccountLimits, Anonymous, Config, Network, PortSet, Principal, Umask, Use};
use crate::vfs::{Credentials, Rules, Tree, VfsError};

/// Somebody who may log in, and what they may do where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The name that logs in; "anonymous" for anonymous sessions.
    pub name: String,
    /// The directory on this host that they see as "/".
    pub root: PathBuf,
    /// What they may do in it.
    pub rights: Rights,
    /// As whom they do it; `None`: as the daemon itself.
    pub credentials: Option<Arc<Credentials>>,
    /// Where they may log in from; empty: from anywhere.
    pub allow: Vec<Network>,
    /// Which of the passive ports they get; `None`: any.
    pub passive_ports: Option<PortSet>,
    /// Where PORT and EPRT may lead beside their own address.
    pub fxp: Vec<Network>,
    /// Whether they are kept out.
    pub disabled: bool,
    /// TLS on their control connections, beside what the listener asks.
    pub tls: Option<Use>,
    /// TLS on their data connections, beside what the listener asks.
    pub tls_data: Option<Use>,
    /// What they may use.
    pub limits: AccountLimits,
}

impl Account {
    /// The account of a user of the users file. The error is a sentence for the admin.
    pub(crate) fn of_user(user: &User, config: &Config) -> Result<Account, String> {
        if let Some(ports) = &user.passive_ports {
            within(ports, &config.passive.ports)?;
        }
        let (uid, gid) = (user.uid.as_ref(), user.gid.as_ref());
        Ok(Account {
            name: user.name.clone(),
            root: user.root.clone(),
            rights: user.rights,
            credentials: credentials(uid, gid, user.umask)?,
            allow: user.allow.clone(),
            passive_ports: user.passive_ports.clone(),
            fxp: user.fxp.clone(),
            disabled: user.disabled,
            tls: user.tls,
            tls_data: user.tls_data,
            limits: user.limits.or(config.limits.account),
        })
    }

    pub(super) fn anonymous(settings: &Anonymous, config: &Config) -> Result<Account, String> {
        let credentials = credentials(settings.uid.as_ref(), settings.gid.as_ref(), None)?;
        let name = "anonymous".to_owned();
        let limits = settings.limits.or(config.limits.account);
        let root = settings.root.clone();
        Ok(Account::plain(
            name,
            root,
            Rights::READ_ONLY,
            credentials,
            limits,
        ))
    }

    /// The account of a user of the host, in their home. The error is a sentence for the admin.
    #[cfg(feature = "pam")]
    pub(super) fn of_host(
        entry: &nix::unistd::User,
        rights: Rights,
        config: &Config,
    ) -> Result<Account, String> {
        // By the entry, not by its number, which another name may have as well.
        let owner = Some(super::owner::of_entry(entry, None)?);
        let credentials = Some(Arc::new(Credentials { owner, umask: None }));
        let (name, root) = (entry.name.clone(), entry.dir.clone());
        Ok(Account::plain(
            name,
            root,
            rights,
            credentials,
            config.limits.account,
        ))
    }

    /// One that comes from anywhere, by whatever ports and TLS the listener allows.
    fn plain(
        name: String,
        root: PathBuf,
        rights: Rights,
        credentials: Option<Arc<Credentials>>,
        limits: AccountLimits,
    ) -> Account {
        Account {
            name,
            root,
            rights,
            credentials,
            allow: Vec::new(),
            passive_ports: None,
            fxp: Vec::new(),
            disabled: false,
            tls: None,
            tls_data: None,
            limits,
        }
    }

    /// The same with another root.
    #[must_use]
    pub fn within(&self, root: &Path) -> Account {
        Account {
            root: root.to_owned(),
            ..self.clone()
        }
    }

    /// Opens their file tree, for uploads that keep to `rules`.
    pub fn tree(&self, rules: Option<Arc<Rules>>) -> Result<Tree, VfsError> {
        Tree::open(&self.root, self.credentials.clone(), rules)
    }

    /// Why somebody at `client` who knows the password is not let in all the same, on a control
    /// connection that TLS protects or not. For the log: who asks is told nothing.
    pub fn objection(&self, client: IpAddr, protected: bool) -> Option<&'static str> {
        if self.disabled {
            return Some("the account is disabled");
        }
        match self.tls {
            Some(Use::Require) if !protected => return Some("the account requires TLS"),
            Some(Use::Off) if protected => return Some("the account does not use TLS"),
            Some(Use::Off | Use::Allow | Use::Require) | None => {}
        }
        let welcome = self.allow.iter().any(|network| network.contains(client));
        (!self.allow.is_empty() && !welcome).then_some("the address is not among those allowed")
    }
}

/// Says what of an account's `ports` is not among `all`, `passive.ports`.
pub(crate) fn within(ports: &PortSet, all: &PortSet) -> Result<(), String> {
    match ports.outside(all) {
        None => Ok(()),
        Some(port) => Err(format!("its port {port} is not among passive.ports, {all}")),
    }
}

fn credentials(
    uid: Option<&Principal>,
    gid: Option<&Principal>,
    umask: Option<Umask>,
) -> Result<Option<Arc<Credentials>>, String> {
    let owner = owner(uid, gid)?;
    let umask = umask.map(|umask| Mode::from_raw_mode(umask.0));
    let any = owner.is_some() || umask.is_some();
    Ok(any.then(|| Arc::new(Credentials { owner, umask })))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str =
        "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

    fn user() -> User {
        User::new("alice", HASH.parse().unwrap(), "/srv")
    }

    fn account(user: &User) -> Result<Account, String> {
        Account::of_user(user, &Config::default())
    }

    #[test]
    fn plain_accounts_wear_nothing() {
        let plain = account(&user()).unwrap();
        assert_eq!(plain.credentials, None);
        assert_eq!(plain.objection("192.0.2.1".parse().unwrap(), false), None);
        let masked = User {
            umask: Some(Umask(0o077)),
            ..user()
        };
        let credentials = account(&masked).unwrap().credentials.unwrap();
        assert_eq!(credentials.owner, None);
        assert_eq!(credentials.umask, Some(Mode::from_raw_mode(0o077)));
    }

    #[test]
    fn what_cannot_be_is_said() {
        let stranger = User {
            uid: Some("nobody here".parse().unwrap()),
            ..user()
        };
        let said = account(&stranger).unwrap_err();
        assert_eq!(said, "this host has no user \"nobody here\"");
        let beyond = User {
            passive_ports: Some("49999-50001".parse().unwrap()),
            ..user()
        };
        let said = account(&beyond).unwrap_err();
        assert!(
            said.contains("50001") && said.contains("30000-50000"),
            "{said}"
        );
    }

    #[test]
    fn who_is_not_welcome() {
        let home = User {
            allow: vec![
                "192.0.2.0/24".parse().unwrap(),
                "2001:db8::/32".parse().unwrap(),
            ],
            ..user()
        };
        let home = account(&home).unwrap();
        assert_eq!(home.objection("192.0.2.9".parse().unwrap(), true), None);
        assert_eq!(home.objection("2001:db8::9".parse().unwrap(), true), None);
        let elsewhere = home.objection("192.0.3.9".parse().unwrap(), true).unwrap();
        assert!(elsewhere.contains("address"));
        let disabled = User {
            disabled: true,
            ..user()
        };
        let disabled = account(&disabled).unwrap();
        assert!(
            disabled
                .objection("192.0.2.9".parse().unwrap(), true)
                .unwrap()
                .contains("disabled")
        );
    }
}
