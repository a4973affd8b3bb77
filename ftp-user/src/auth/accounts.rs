//! The accounts that sessions log in to, and the check of a password at login.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::time::Instant;

use super::system::System;
use super::threads::Threads;
use super::users::is_anonymous;
use super::{Account, AuthError, Hash, Password, UsersFile};
use crate::config::Config;

/// All accounts, as they were when they were loaded. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Accounts {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    anonymous: Option<Arc<Account>>,
    users: HashMap<Vec<u8>, Known>,
    /// Who cannot be as they are wanted, and why, but for those who are disabled.
    unusable: Vec<String>,
    /// The host's own, behind those of the users file.
    system: Option<System>,
    /// Verified in place of a user that is not there, so that both take the same time.
    nobody: Hash,
    /// What a refusal takes at least.
    refusal: Duration,
}

/// A user of the users file.
#[derive(Debug, Clone)]
struct Known {
    hash: Hash,
    /// `None`: it cannot be as it is wanted, and nobody gets in.
    account: Option<Arc<Account>>,
}

/// Why somebody is not let in who is nobody, or says a wrong password.
const WRONG: &str = "no such user, or a wrong password";

/// The same for one who is right.
const UNUSABLE: &str = "the account cannot be used: `pinhole check` says why";

/// A hash takes a core and 19 MiB for some 20 ms. More at once than there are cores finish no sooner.
static HASHING: LazyLock<Threads> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Threads::new("hash", cores)
});

/// What a refusal takes at least where PAM is asked: modules take longer than a hash, and longer for
/// users who are there than for others, and nobody is to tell them apart by that.
const REFUSAL_WITH_PAM: Duration = Duration::from_millis(300);

impl Accounts {
    /// The anonymous account, if the configuration has one, and all of its users file. One that cannot be
    /// as it is wanted, because its host's user is gone for instance, concerns nobody else: nobody gets
    /// in by it, and [`Accounts::unusable`] tells.
    ///
    /// # Errors
    ///
    /// The users file cannot be used, or there is nobody but an anonymous account that cannot be.
    pub fn load(config: &Config) -> Result<Accounts, AuthError> {
        let mut users = HashMap::new();
        let mut unusable = Vec::new();
        if let Some(path) = &config.users {
            let file = UsersFile::new(path).read()?;
            for placed in file.iter() {
                let user = placed.get_ref();
                let account = match Account::of_user(user, config) {
                    Ok(account) => Some(Arc::new(account)),
                    Err(problem) => {
                        if !user.disabled {
                            let name = &user.name;
                            let message = format!("{name} will not get in: {problem}");
                            unusable.push(file.problem(placed, message).to_string());
                        }
                        None
                    }
                };
                let hash = user.hash.clone();
                users.insert(user.name.clone().into_bytes(), Known { hash, account });
            }
        }
        let system = System::load(config)?;
        let anonymous = config.anonymous.as_ref();
        let anonymous = anonymous
            .map(|anonymous| Account::anonymous(anonymous, config))
            .transpose();
        let anonymous = match anonymous {
            Ok(anonymous) => anonymous.map(Arc::new),
            Err(problem) if users.is_empty() && system.is_none() => {
                return Err(AuthError::Unusable {
                    account: "anonymous".to_owned(),
                    problem,
                });
            }
            Err(problem) => {
                unusable.push(format!("anonymous will not get in: {problem}"));
                None
            }
        };
        Ok(Accounts {
            inner: Arc::new(Inner {
                anonymous,
                users,
                unusable,
                refusal: match system {
                    Some(_) => REFUSAL_WITH_PAM,
                    None => Duration::ZERO,
                },
                system,
                nobody: Hash::of_nobody()?,
            }),
        })
    }

    /// Who logs in without a password, if anybody.
    pub fn anonymous(&self) -> Option<Arc<Account>> {
        self.inner.anonymous.clone()
    }

    /// Whether nobody at all can log in.
    pub fn is_empty(&self) -> bool {
        self.inner.anonymous.is_none() && self.are_anonymous()
    }

    /// Whether nobody can log in who has a password.
    pub fn are_anonymous(&self) -> bool {
        self.inner.users.is_empty() && self.inner.system.is_none()
    }

    /// Whether USER with this name asks for the anonymous account: "anonymous" or "ftp", in any
    /// case.
    pub fn is_anonymous(name: &[u8]) -> bool {
        is_anonymous(name)
    }

    /// All users with a password that can be used, in no order.
    pub fn users(&self) -> impl Iterator<Item = &Account> {
        let users = self.inner.users.values();
        users.filter_map(|known| known.account.as_deref())
    }

    /// A sentence for each that cannot, with its place in the users file; of those who are disabled
    /// anyway, nothing is said.
    pub fn unusable(&self) -> &[String] {
        &self.inner.unusable
    }

    /// Takes each account's user on once, so that what is in the way shows at the start.
    pub fn try_on(&self) -> Result<(), AuthError> {
        let anonymous = self.inner.anonymous.as_deref();
        let enabled = self.users().filter(|user| !user.disabled);
        for account in anonymous.into_iter().chain(enabled) {
            if let Some(credentials) = &account.credentials {
                let tried = credentials.try_on();
                tried.map_err(|source| AuthError::Credentials {
                    account: account.name.clone(),
                    source,
                })?;
            }
        }
        Ok(())
    }

    /// The account of `name`, if `password` is its password, and it is let in from `client` on a
    /// connection that TLS protects or not; else why not, for the log alone. A name that is not there
    /// costs as much as a wrong password, and so does an account that is not let in, of which nothing
    /// is looked at before. The hash is computed away from the async threads.
    pub async fn admit(
        &self,
        name: &[u8],
        password: Password,
        client: IpAddr,
        protected: bool,
    ) -> Result<Arc<Account>, &'static str> {
        let begun = Instant::now();
        let verified = self.verify(name, password, client).await;
        let admitted = verified.and_then(|account| match account.objection(client, protected) {
            None => Ok(account),
            Some(reason) => Err(reason),
        });
        if admitted.is_err() {
            tokio::time::sleep_until(begun + self.inner.refusal).await;
        }
        admitted
    }

    /// The account whose password it is, else why nobody is let in. Of users of the host, PAM learns
    /// that they come from `client`.
    async fn verify(
        &self,
        name: &[u8],
        password: Password,
        client: IpAddr,
    ) -> Result<Arc<Account>, &'static str> {
        let known = match (self.inner.users.get(name), &self.inner.system) {
            (Some(known), _) => Some(known),
            (None, Some(system)) => {
                let verified = system.verify(name, password, client).await;
                return verified.ok_or(WRONG);
            }
            (None, None) => None,
        };
        let hash = known
            .map_or(&self.inner.nobody, |known| &known.hash)
            .clone();
        let right = HASHING.run(move || hash.verify(&password)).await;
        match known.filter(|_| right == Some(true)) {
            None => Err(WRONG),
            Some(Known { account, .. }) => account.clone().ok_or(UNUSABLE),
        }
    }
}

#[cfg(test)]
mod tests;
