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
    users: HashMap<Vec<u8>, (Hash, Arc<Account>)>,
    /// The host's own, behind those of the users file.
    system: Option<System>,
    /// Verified in place of a user that is not there, so that both take the same time.
    nobody: Hash,
    /// What a refusal takes at least.
    refusal: Duration,
}

/// A hash takes a core and 19 MiB for some 20 ms. More at once than there are cores finish no sooner.
static HASHING: LazyLock<Threads> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Threads::new("hash", cores)
});

/// What a refusal takes at least where PAM is asked: modules take longer than a hash, and longer for
/// users who are there than for others, and nobody is to tell them apart by that.
const REFUSAL_WITH_PAM: Duration = Duration::from_millis(300);

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
        let system = System::load(config)?;
        Ok(Accounts {
            inner: Arc::new(Inner {
                anonymous,
                users,
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
        let admitted = match verified {
            None => Err("no such user, or a wrong password"),
            Some(account) => match account.objection(client, protected) {
                None => Ok(account),
                Some(reason) => Err(reason),
            },
        };
        if admitted.is_err() {
            tokio::time::sleep_until(begun + self.inner.refusal).await;
        }
        admitted
    }

    /// The account whose password it is. Of users of the host, PAM learns that they come from `client`.
    async fn verify(
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
        let right = HASHING.run(move || hash.verify(&password)).await?;
        account.filter(|_| right)
    }
}

#[cfg(test)]
mod tests {
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
        let alice = accounts.admit(b"alice", password("secret"), HOME, false);
        let alice = alice.await.unwrap();
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
            let result = accounts.admit(name.as_bytes(), password(word), HOME, false);
            assert!(result.await.is_err(), "{name} {word}");
        }
    }

    #[tokio::test]
    async fn an_unknown_name_costs_as_much_as_a_wrong_password() {
        let accounts = accounts();
        let time = async |name: &'static [u8]| {
            let mut times: Vec<Duration> = Vec::new();
            for _ in 0..5 {
                let start = Instant::now();
                let refused = accounts.admit(name, password("wrong"), HOME, false).await;
                assert!(refused.is_err());
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

    /// The threads of the runtime are taken by what hangs; a password is looked at all the same.
    #[test]
    fn a_login_waits_for_nobodys_files() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().max_blocking_threads(1).build();
        let runtime = runtime.unwrap();
        let (end, until) = std::sync::mpsc::channel::<()>();
        let accounts = accounts();
        let admitted = runtime.block_on(async {
            let hung = tokio::task::spawn_blocking(move || until.recv().is_err());
            let admit = accounts.admit(b"alice", password("secret"), HOME, false);
            let admitted = tokio::time::timeout(Duration::from_secs(20), admit).await;
            drop(end);
            assert!(hung.await.unwrap());
            admitted
        });
        assert_eq!(admitted.unwrap().unwrap().name, "alice");
    }

    #[tokio::test]
    async fn every_refusal_takes_as_long_as_one_by_pam() {
        let mut accounts = accounts();
        let inner = Arc::get_mut(&mut accounts.inner).unwrap();
        inner.refusal = Duration::from_secs(1);
        let (hash, alice) = inner.users[&b"alice"[..]].clone();
        let mut closed = Account::clone(&alice);
        closed.disabled = true;
        inner
            .users
            .insert(b"closed".to_vec(), (hash, closed.into()));
        for (name, word) in [("alice", "wrong"), ("bob", "secret"), ("closed", "secret")] {
            let start = Instant::now();
            let refused = accounts
                .admit(name.as_bytes(), password(word), HOME, false)
                .await;
            assert!(refused.is_err(), "{name}");
            assert!(start.elapsed() >= Duration::from_secs(1), "{name}");
        }
        let start = Instant::now();
        let alice = accounts.admit(b"alice", password("secret"), HOME, false);
        assert!(alice.await.is_ok() && start.elapsed() < Duration::from_secs(1));
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
