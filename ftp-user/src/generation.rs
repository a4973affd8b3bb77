//! A generation of settings: the configuration with the accounts and the certificate that it names,
//! read together and used together; and the way from one to the next while the server runs.
//!
//! Who asks for a reload is `cli`'s; when a session takes which generation is `session`'s.

use crate::auth::{Accounts, AuthError};
use crate::config::{Config, PublicAddress};
use crate::hosts::Hosts;
use crate::tls::{Tls, TlsError};
use crate::vfs::{Credentials, VfsError};
use crate::xferlog::{Xferlog, XferlogError};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use tokio::sync::watch;

/// What an admin has configured, as it was at one time.
#[derive(Debug)]
pub struct Generation {
    /// The configuration.
    pub config: Arc<Config>,
    /// Who may log in.
    pub accounts: Accounts,
    /// For AUTH TLS, PROT P and implicit TLS.
    pub tls: Option<Arc<Tls>>,
    /// Where transfers are written down; the same for all generations.
    pub xferlog: Arc<Xferlog>,
    /// What is known of host names; the same for all generations.
    pub hosts: Arc<Hosts>,
}

/// Why a configuration cannot be used, though it says nothing wrong by itself.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// The users file.
    #[error(transparent)]
    Accounts(#[from] AuthError),
    /// The certificate or its key.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// The anonymous root, and nobody has a password.
    #[error("[anonymous]: {0}")]
    Anonymous(VfsError),
    /// The transfer log.
    #[error(transparent)]
    Xferlog(#[from] XferlogError),
    /// There are no accounts.
    #[error(
        "nobody can log in: name a directory for everybody with --root DIR or [anonymous] root, or a \
         users file with users = \"FILE\" (`pinhole user add` makes one)"
    )]
    Nobody,
}

impl Generation {
    /// Reads everything that `config` names. Blocks.
    pub fn load(config: Config) -> Result<Generation, GenerationError> {
        Generation::load_with(config, Arc::default(), Arc::default())
    }

    fn load_with(
        config: Config,
        xferlog: Arc<Xferlog>,
        hosts: Arc<Hosts>,
    ) -> Result<Generation, GenerationError> {
        let (accounts, tls) = examine(&config)?;
        if accounts.is_empty() {
            return Err(GenerationError::Nobody);
        }
        let opened = Xferlog::open(config.log.xferlog.as_deref())?;
        // Nothing fails from here on.
        hosts.refresh(config.passive.hosts());
        xferlog.set(opened);
        Ok(Generation {
            config: Arc::new(config),
            accounts,
            tls: tls.map(Arc::new),
            xferlog,
            hosts,
        })
    }

    /// The address that a 227 names to `client`; `None`: the control connection's own. The error is
    /// a host name that has not been found so far.
    pub fn public_address(&self, client: IpAddr) -> Result<Option<Ipv4Addr>, &str> {
        match self.config.passive.public_address(client) {
            PublicAddress::Own => Ok(None),
            PublicAddress::Fixed(address) => Ok(Some(*address)),
            PublicAddress::Host(name) => self.hosts.get(name).map(Some).ok_or(name),
        }
    }
}

/// Reads what `config` names of accounts and TLS, and finds all that is in the way of serving with it
/// but two things: that there may be nobody, and the transfer log, which nobody makes by looking.
/// Blocks.
pub fn examine(config: &Config) -> Result<(Accounts, Option<Tls>), GenerationError> {
    let accounts = Accounts::load(config)?;
    let tls = config.tls.as_ref();
    let tls = tls.map(|tls| Tls::load(tls, &config.hosts)).transpose()?;
    if let Some(anonymous) = accounts.anonymous().filter(|_| accounts.are_anonymous()) {
        anonymous.tree(None).map_err(GenerationError::Anonymous)?;
    }
    accounts.try_on()?;
    if config.pam.is_some() {
        Credentials::try_on_anybodys().map_err(|source| AuthError::Credentials {
            account: "any user of the host ([pam])".to_owned(),
            source,
        })?;
    }
    Ok((accounts, tls))
}

/// The newest generation, for those who take it when they need it.
#[derive(Debug, Clone)]
pub struct Newest(watch::Receiver<Arc<Generation>>);

impl Newest {
    /// As it is now.
    pub fn get(&self) -> Arc<Generation> {
        Arc::clone(&self.0.borrow())
    }
}

/// The newest generation, and the only way to another.
#[derive(Debug)]
pub struct Generations(watch::Sender<Arc<Generation>>);

impl Generations {
    /// Starts with the first.
    pub fn new(first: Generation) -> Generations {
        Generations(watch::Sender::new(Arc::new(first)))
    }

    /// The newest.
    pub fn newest(&self) -> Arc<Generation> {
        Arc::clone(&self.0.borrow())
    }

    /// For those who follow.
    pub fn follow(&self) -> Newest {
        Newest(self.0.subscribe())
    }

    /// Puts `config` and what it names in the place of the newest generation, or leaves all as it
    /// is. Returns the names of settings that only a restart changes and that are as they were.
    /// Blocks.
    pub fn replace(&self, mut config: Config) -> Result<Vec<&'static str>, GenerationError> {
        let running = self.newest();
        let kept = config.keep_fixed(&running.config);
        let (xferlog, hosts) = (Arc::clone(&running.xferlog), Arc::clone(&running.hosts));
        let next = Generation::load_with(config, xferlog, hosts)?;
        // From here on everybody who asks sees all of it.
        self.0.send_replace(Arc::new(next));
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Anonymous;

    #[test]
    fn what_cannot_be_used_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            anonymous: Some(Anonymous::new(folder.path())),
            ..Config::default()
        };
        let generations = Generations::new(Generation::load(config.clone()).unwrap());
        let newest = generations.follow();
        let greeting = || newest.get().config.greeting.clone();

        let mut good = config.clone();
        good.greeting = "Second.".to_owned();
        good.enforce.max_pinholes = 5;
        let kept = generations.replace(good).unwrap();
        assert_eq!(kept, ["enforce.max_pinholes"]);
        assert_eq!(greeting(), "Second.");
        assert_eq!(
            newest.get().config.enforce.max_pinholes,
            config.enforce.max_pinholes
        );

        let mut bad = config.clone();
        bad.greeting = "Third.".to_owned();
        bad.users = Some(folder.path().join("users.toml"));
        let refused = generations.replace(bad).unwrap_err().to_string();
        assert!(refused.contains("users.toml"), "{refused}");
        assert_eq!(greeting(), "Second.");

        let mut bad = config.clone();
        bad.anonymous = Some(Anonymous::new(folder.path().join("gone")));
        let refused = generations.replace(bad).unwrap_err().to_string();
        assert!(refused.starts_with("[anonymous]: "), "{refused}");
        assert!(refused.contains("gone"), "{refused}");

        let mut bad = config;
        let mut tls = crate::tls::testing::settings(folder.path());
        let other = tempfile::tempdir().unwrap();
        tls.key = crate::tls::testing::settings(other.path()).key;
        bad.tls = Some(tls);
        let refused = generations.replace(bad).unwrap_err().to_string();
        assert!(refused.starts_with("TLS: certificate "), "{refused}");
        assert_eq!(greeting(), "Second.");
    }
}
