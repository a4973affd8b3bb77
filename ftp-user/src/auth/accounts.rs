//! The accounts that sessions log in to, and the check of a password at login.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::system::System;
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
    users: HashMap<Vec<u8>, (Hash, Arc<Account>)>,
    /// The host's own, behind those of the users file.
    system: Option<System>,
    /// Verified in place of a user that is not there, so that both take the same time.
    nobody: Hash,
    /// A hash takes a core and 19 MiB for some 20 ms. More at once than there are cores finish no
    /// sooner.
    hashing: Arc<Semaphore>,
}

impl Accounts {
    /// The anonymous account, if the configuration has one, and all of its users file.
    pub fn load(config: &Config) -> Result<Accounts, AuthError> {
        let anonymous = config.anonymous.as_ref();
        let anonymous = anonymous
            .map(|anonymous| Account::anonymous(anonymous, config).map(Arc::new))
            .transpose()?;
        let mut users = HashMap::new();
        if let Some(path) = &config.users {
            for user in UsersFile::new(path).load()?.iter() {
                let account = Arc::new(Account::of_user(user, config)?);
                users.insert(user.name.clone().into_bytes(), (user.hash.clone(), account));
            }
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Accounts {
            inner: Arc::new(Inner {
                anonymous,
                users,
                system: System::load(config)?,
                nobody: Hash::of_nobody()?,
                hashing: Arc::new(Semaphore::new(cores)),
            }),
        })
    }

    /// Who logs in without a password, if anybody.
    pub fn anonymous(&self) -> Option<Arc<Account>> {
        self.inner.anonymous.clone()
    }

    /// Whether nobody at all can log in.
    pub fn is_empty(&self) -> bool {
        let Inner {
            anonymous,
            users,
            system,
            ..
        } = &*self.inner;
        anonymous.is_none() && users.is_empty() && system.is_none()
    }

    /// Whether USER with this name asks for the anonymous account: "anonymous" or "ftp", in any
    /// case.
    pub fn is_anonymous(name: &[u8]) -> bool {
        is_anonymous(name)
    }

    /// All users with a password, in no order.
    pub fn users(&self) -> impl Iterator<Item = &Account> {
        self.inner
            .users
            .values()
            .map(|(_, account)| account.as_ref())
    }

    /// Takes each account's user on once, so that what is in the way shows at the start.
    pub fn try_on(&self) -> Result<(), AuthError> {
        let anonymous = self.inner.anonymous.as_deref();
        for account in anonymous.into_iter().chain(self.users()) {
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

    /// The account of `name` if `password` is its password. A name that is not there costs as much
    /// as a wrong password, and the hash is computed away from the async threads. Whether the
    /// account is let in from where it comes is asked afterwards: [`Account::objection`]. Of users
    /// of the host, PAM learns that they come from `client`.
    pub async fn verify(
        &self,
        name: &[u8],
        password: Password,
        client: IpAddr,
    ) -> Option<Arc<Account>> {
        let (hash, account) = match (self.inner.users.get(name), &self.inner.system) {
            (Some((hash, account)), _) => (hash.clone(), Some(Arc::clone(account))),
            (None, Some(system)) => return system.verify(name, password, client).await,
            (None, None) => (self.inner.nobody.clone(), None),
        };
        let turn = Arc::clone(&self.inner.hashing).acquire_owned().await.ok()?;
        let checked = tokio::task::spawn_blocking(move || {
            let right = hash.verify(&password);
            // Here and not in the caller, who may be gone by now while the hash goes on.
            drop(turn);
            right
        });
        match checked.await {
            Ok(true) => account,
            Ok(false) => None,
            Err(error) => {
                tracing::error!(%error, "a password could not be checked");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use std::path::PathBuf;

    use super::*;
    use crate::auth::{Rights, User};
    use crate::config::Anonymous;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn password(text: &str) -> Password {
        Password::new(text.into())
    }

    fn accounts() -> Accounts {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.toml");
        let hash = Hash::new(&password("secret")).unwrap();
        let user = User::new("alice", hash, "/srv/alice");
        UsersFile::new(&path).add(user).unwrap();
        Accounts::load(&Config {
            users: Some(path),
            anonymous: Some(Anonymous::new("/srv/ftp")),
            ..Config::default()
        })
        .unwrap()
    }

    #[tokio::test]
    async fn logs_in_who_knows_the_password() {
        let accounts = accounts();
        let alice = accounts
            .verify(b"alice", password("secret"), HOME)
            .await
            .unwrap();
        assert_eq!(alice.name, "alice");
        assert_eq!(alice.root, PathBuf::from("/srv/alice"));
        assert_eq!(alice.rights, Rights::ALL);
        for (name, word) in [
            ("alice", ""),
            ("alice", "Secret"),
            ("Alice", "secret"),
            ("bob", "secret"),
            ("", ""),
            ("anonymous", "secret"),
        ] {
            let result = accounts.verify(name.as_bytes(), password(word), HOME).await;
            assert_eq!(result, None, "{name} {word}");
        }
    }

    #[tokio::test]
    async fn an_unknown_name_costs_as_much_as_a_wrong_password() {
        let accounts = accounts();
        let time = async |name: &'static [u8]| {
            let mut times: Vec<Duration> = Vec::new();
            for _ in 0..5 {
                let start = Instant::now();
                assert_eq!(accounts.verify(name, password("wrong"), HOME).await, None);
                times.push(start.elapsed());
            }
            times.sort();
            times[0]
        };
        let (known, unknown) = (time(b"alice").await, time(b"bob").await);
        // A lookup alone would be a thousand times faster; the margin is for a loaded machine.
        assert!(unknown > known / 4, "{unknown:?} against {known:?}");
        assert!(unknown > Duration::from_millis(1), "{unknown:?}");
    }

    /// Paused time moves on only while nothing runs: a hash that has started is always waited for,
    /// so the timeout comes first only if none has.
    #[tokio::test(start_paused = true)]
    async fn no_more_hashes_at_once_than_cores() {
        let accounts = accounts();
        let hashing = Arc::clone(&accounts.inner.hashing);
        let cores = u32::try_from(hashing.available_permits()).unwrap();
        assert!(cores >= 1);
        let busy = hashing.acquire_many(cores).await.unwrap();
        let login = async || {
            let login = accounts.verify(b"alice", password("secret"), HOME);
            tokio::time::timeout(Duration::from_secs(3600), login).await
        };
        assert!(login().await.is_err(), "it did not wait for its turn");
        drop(busy);
        assert!(login().await.unwrap().is_some());
        assert_eq!(hashing.available_permits(), cores as usize);
    }

    #[test]
    fn anonymous_is_read_only_and_only_there_when_wanted() {
        let anonymous = accounts().anonymous().unwrap();
        assert_eq!(anonymous.rights, Rights::READ_ONLY);
        assert_eq!(
            Accounts::load(&Config::default()).unwrap().anonymous(),
            None
        );
        assert!(Accounts::is_anonymous(b"Anonymous") && Accounts::is_anonymous(b"ftp"));
        assert!(!Accounts::is_anonymous(b"alice"));
    }
}
