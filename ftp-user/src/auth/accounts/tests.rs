//! Who gets in, who does not, and how long that takes.

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
    let mut closed = inner.users[&b"alice"[..]].clone();
    let mut account = Account::clone(closed.account.as_ref().unwrap());
    account.disabled = true;
    closed.account = Some(account.into());
    inner.users.insert(b"closed".to_vec(), closed);
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

#[tokio::test]
async fn one_who_cannot_be_used_keeps_nobody_else_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.toml");
    let hash = Hash::new(&password("secret")).unwrap();
    let user = |name: &str| User::new(name, hash.clone(), "/srv");
    let gone = Some("no such user".parse().unwrap());
    let file = UsersFile::new(&path);
    for user in [
        user("alice"),
        User {
            uid: gone.clone(),
            ..user("gone")
        },
        User {
            uid: gone,
            disabled: true,
            ..user("away")
        },
        User {
            passive_ports: Some("1-5".parse().unwrap()),
            ..user("beyond")
        },
        User {
            uid: Some("root".parse().unwrap()),
            ..user("mighty")
        },
    ] {
        file.add(user).unwrap();
    }
    let mut config = Config {
        anonymous: Some(Anonymous {
            uid: Some("no such user".parse().unwrap()),
            ..Anonymous::new("/srv")
        }),
        ..Config::default()
    };
    let alone = Accounts::load(&config).unwrap_err().to_string();
    assert!(alone.starts_with("the account \"anonymous\" cannot be used: this host has no"));
    config.users = Some(path.clone());
    let accounts = Accounts::load(&config).unwrap();
    assert_eq!(accounts.anonymous(), None);
    let said = accounts.unusable();
    let shown = path.display();
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(
        said[0].starts_with(&format!(
            "{shown}:10:1: gone will not get in: this host has no"
        )),
        "{said:?}"
    );
    assert!(said[1].contains("beyond will not get in: its port 1 is not"));
    assert!(said[2].contains("mighty will not get in: uid 0 passes over"));
    assert!(said[3].starts_with("anonymous will not get in: this host has no"));
    let names: Vec<&str> = accounts.users().map(|user| user.name.as_str()).collect();
    assert_eq!(names, ["alice"]);
    let admit = async |name: &str, word| {
        let admitted = accounts.admit(name.as_bytes(), password(word), HOME, false);
        admitted.await.map(drop)
    };
    assert_eq!(admit("alice", "secret").await, Ok(()));
    for name in ["gone", "away", "beyond", "mighty"] {
        assert_eq!(admit(name, "secret").await, Err(UNUSABLE));
        assert_eq!(admit(name, "wrong").await, Err(WRONG));
    }
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
