//! What an admin probably did not mean: told by `check` and at start, never an error.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;

use crate::auth::Accounts;
use crate::config::{Config, Use};
use crate::tls::Tls;
use time::OffsetDateTime;

/// Sentences about what works but is probably not wanted.
pub(super) fn doubts(config: &Config, accounts: &Accounts, tls: Option<&Tls>) -> Vec<String> {
    let mut doubts = Vec::new();
    doubts.extend(accounts.unusable().iter().map(ToString::to_string));
    // Who is disabled does not get in anyway.
    let enabled = || accounts.users().filter(|user| !user.disabled);
    for user in enabled() {
        if let Err(error) = user.tree(None) {
            doubts.push(format!("{} will not get in: {error}", user.name));
        }
    }
    if let Some(anonymous) = accounts.anonymous() {
        if let Err(error) = anonymous.tree(None) {
            doubts.push(format!("anonymous will not get in: {error}"));
        }
        for host in &config.hosts {
            if let (Some(root), Some(name)) = (&host.anonymous_root, host.names.first())
                && let Err(error) = anonymous.within(root).tree(None)
            {
                doubts.push(format!(
                    "anonymous will not get in at {name} ([[host]]): {error}"
                ));
            }
        }
    }
    if config.tls.is_none() {
        let required = |wanted| wanted == Some(Use::Require);
        for user in enabled().filter(|user| required(user.tls) || required(user.tls_data)) {
            let name = &user.name;
            doubts.push(format!(
                "{name} requires TLS, and there is no [tls]: nothing will work"
            ));
        }
    }
    if let Some(path) = &config.users {
        let mode = std::fs::metadata(path).map(|found| found.permissions().mode());
        if mode.is_ok_and(|mode| mode & 0o007 != 0) {
            let shown = path.display();
            doubts.push(format!(
                "every user of this host can read the password hashes: chmod 600 {shown}"
            ));
        }
    }
    let hosts = config.hosts.iter();
    let keys = hosts.filter_map(|host| Some(&host.certificate.as_ref()?.key));
    let keys: BTreeSet<_> = config.tls.iter().map(|tls| &tls.key).chain(keys).collect();
    for key in keys {
        let mode = std::fs::metadata(key).map(|found| found.permissions().mode());
        if mode.is_ok_and(|mode| mode & 0o007 != 0) {
            let shown = key.display();
            doubts.push(format!(
                "every user of this host can read the private key: chmod 600 {shown}"
            ));
        }
    }
    for name in tls.map(Tls::misnamed).unwrap_or_default() {
        doubts.push(format!(
            "the certificate for {name} does not name it: clients that check will refuse it"
        ));
    }
    doubts.extend(tls.map_or_else(Vec::new, |tls| tls.untimely(OffsetDateTime::now_utc())));
    if !config.enforce.enabled {
        doubts.push(
            "enforcement is off: while a passive port waits, anybody can connect to it. For trying \
             out only"
                .to_owned(),
        );
    }
    doubts
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::auth::{Hash, Password, User, UsersFile};
    use crate::config::{Anonymous, VirtualHost};

    fn said(config: &Config) -> Vec<String> {
        let tls = config.tls.as_ref();
        let tls = tls.map(|tls| Tls::load(tls, &config.hosts).unwrap());
        doubts(config, &Accounts::load(config).unwrap(), tls.as_ref())
    }

    #[test]
    fn an_ordinary_configuration_leaves_none() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            anonymous: Some(Anonymous::new(dir.path().to_owned())),
            ..Config::default()
        };
        assert!(said(&config).is_empty());
    }

    #[test]
    fn anonymous_roots_that_cannot_be_used_stop_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.toml");
        let hash = Hash::new(&Password::new(b"a".to_vec())).unwrap();
        let alice = User::new("alice", hash, dir.path());
        UsersFile::new(&path).add(alice).unwrap();
        let config = Config {
            users: Some(path),
            anonymous: Some(Anonymous::new(dir.path().join("gone"))),
            hosts: vec![VirtualHost {
                names: vec!["a.example".to_owned()],
                anonymous_root: Some(dir.path().join("away")),
                ..VirtualHost::default()
            }],
            ..Config::default()
        };
        crate::generation::examine(&config).unwrap();
        let said = said(&config);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].starts_with("anonymous will not get in: the directory"));
        assert!(said[1].starts_with("anonymous will not get in at a.example ([[host]]): the"));
        assert!(said[0].contains("gone") && said[1].contains("away"));
    }

    #[test]
    fn each_doubt_is_said() {
        let mut config = Config::default();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.toml");
        let hash = Hash::new(&Password::new(b"a".to_vec())).unwrap();
        let user = User::new("alice", hash, dir.path().join("gone"));
        UsersFile::new(&path).add(user).unwrap();
        config.users = Some(path.clone());
        let tls = crate::tls::testing::settings(dir.path());
        fs::set_permissions(&tls.key, fs::Permissions::from_mode(0o644)).unwrap();
        let host = |name: &str, certificate| VirtualHost {
            names: vec![name.to_owned()],
            certificate,
            ..VirtualHost::default()
        };
        let other = crate::tls::testing::certificate(dir.path(), "other.example");
        fs::set_permissions(&other.key, fs::Permissions::from_mode(0o644)).unwrap();
        config.hosts = vec![
            host("localhost", None),
            host("b.example", Some(other.clone())),
            host("Other.example", Some(other)),
            host("A.example", None),
        ];
        let day = time::Duration::DAY;
        let now = OffsetDateTime::now_utc();
        crate::tls::testing::write_dated(&tls, now - 30 * day, now - 3 * day);
        config.tls = Some(tls);
        config.enforce.enabled = false;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let said = said(&config);
        assert_eq!(said.len(), 8, "{said:?}");
        assert!(said[0].starts_with("alice will not get in: the directory"));
        assert!(said[1].contains("chmod 600"));
        assert!(said[2].starts_with("every user of this host can read the private key"));
        assert!(said[3].starts_with("every user") && said[3].ends_with("other.example.key"));
        assert!(said[4].starts_with("the certificate for a.example does not name it"));
        assert!(said[5].starts_with("the certificate for b.example does not name it"));
        assert!(said[6].contains("localhost.pem: expired on ") && said[6].ends_with("days ago"));
        assert!(said[7].starts_with("enforcement is off"));
    }
}
