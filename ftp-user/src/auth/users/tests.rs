//! Users files on disk and in text.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::auth::Password;

/// Hashing is slow; what these tests are about is the file.
const HASH: &str =
    "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

fn user(name: &str) -> User {
    User {
        rights: Rights::READ_ONLY,
        ..User::new(name, HASH.parse().unwrap(), "/srv")
    }
}

fn names(file: &UsersFile) -> Vec<String> {
    let users = file.load().unwrap();
    users.iter().map(|user| user.name.clone()).collect()
}

fn parse(path: &str, text: &str) -> Result<Users, AuthError> {
    ReadUsers::parse(Path::new(path), text.to_owned()).map(ReadUsers::into_users)
}

#[test]
fn adds_changes_removes_and_keeps_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("etc/pinhole/users.toml");
    let file = UsersFile::new(&path);
    let missing = file.remove("alice").unwrap_err().to_string();
    assert!(missing.contains("lock the folder"), "{missing}");

    file.add(user("alice")).unwrap();
    file.add(user("bob \"o'b\" é")).unwrap();
    assert!(matches!(file.add(user("alice")), Err(AuthError::Exists(_))));
    assert!(matches!(
        file.must_not_have("alice"),
        Err(AuthError::Exists(_))
    ));
    file.must_not_have("carol").unwrap();
    file.get("alice").unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(names(&file), ["alice", "bob \"o'b\" é"]);
    assert_eq!(file.load().unwrap().0[0], user("alice"));

    let password = Password::new(b"new".to_vec());
    file.set_password("alice", &password).unwrap();
    assert!(file.load().unwrap().0[0].hash.verify(&password));
    for result in [
        file.set_password("carol", &password),
        file.remove("carol"),
        file.get("carol").map(drop),
    ] {
        assert!(matches!(result, Err(AuthError::Unknown { .. })));
    }
    file.remove("alice").unwrap();
    assert_eq!(names(&file), ["bob \"o'b\" é"]);
    file.remove("bob \"o'b\" é").unwrap();
    assert!(names(&file).is_empty());
    // Nothing but the file is left behind.
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn every_setting_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let file = UsersFile::new(dir.path().join("users.toml"));
    let full = User {
        uid: Some("alice".parse().unwrap()),
        gid: Some("1000".parse().unwrap()),
        umask: Some("027".parse().unwrap()),
        allow: vec!["192.0.2.0/24".parse().unwrap(), "::1".parse().unwrap()],
        passive_ports: Some("30000-30010,30012".parse().unwrap()),
        fxp: vec!["198.51.100.7".parse().unwrap()],
        disabled: true,
        limits: AccountLimits {
            sessions: Some(0),
            upload_rate: Some("1500KB".parse().unwrap()),
            quota_files: Some(10),
            ..AccountLimits::default()
        },
        ..user("alice")
    };
    file.add(full.clone()).unwrap();
    file.add(user("bob")).unwrap();
    assert_eq!(file.load().unwrap().0, [full, user("bob")]);
    file.change("alice", |alice| *alice = user("alice"))
        .unwrap();
    assert_eq!(file.load().unwrap().0, [user("alice"), user("bob")]);
    let text = fs::read_to_string(dir.path().join("users.toml")).unwrap();
    assert!(
        !text.contains("limits") && !text.contains("disabled"),
        "{text}"
    );
}

#[test]
fn a_refused_change_leaves_the_file_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.toml");
    let file = UsersFile::new(&path);
    fs::write(&path, "[[user]]\nname = 1\n").unwrap();
    assert!(matches!(
        file.add(user("alice")),
        Err(AuthError::Invalid(_))
    ));
    assert_eq!(fs::read_to_string(&path).unwrap(), "[[user]]\nname = 1\n");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_link_to_the_file_stays_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let (real, link) = (dir.path().join("real"), dir.path().join("link"));
    UsersFile::new(&real).add(user("alice")).unwrap();
    std::os::unix::fs::symlink("real", &link).unwrap();
    UsersFile::new(&link).add(user("bob")).unwrap();
    assert!(link.is_symlink());
    assert_eq!(names(&UsersFile::new(&real)), ["alice", "bob"]);
}

#[test]
fn who_may_read_the_file_may_read_it_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.toml");
    let file = UsersFile::new(&path);
    file.add(user("alice")).unwrap();
    for (before, after) in [(0o640, 0o640), (0o600, 0o600), (0o664, 0o640)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(before)).unwrap();
        file.change("alice", |alice| alice.disabled ^= true)
            .unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, after, "{before:o}");
    }
}

#[test]
fn edits_at_the_same_time_lose_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.toml");
    std::thread::scope(|scope| {
        for number in 0..16 {
            let path = &path;
            scope.spawn(move || {
                UsersFile::new(path)
                    .add(user(&format!("u{number}")))
                    .unwrap();
            });
        }
    });
    assert_eq!(names(&UsersFile::new(&path)).len(), 16);
}

#[test]
fn names_that_cannot_be() {
    let mut users = Users::default();
    let long = "x".repeat(65);
    for name in [
        "",
        "a\nb",
        "a\x7f",
        " a",
        "a ",
        "anonymous",
        "FTP",
        "Anonymous",
        &long,
    ] {
        let refused = users.add(user(name));
        assert!(
            matches!(refused, Err(AuthError::BadName { .. })),
            "{name:?}"
        );
    }
    for name in ["a", "a b", "été", "anonymous2", "[[user]]"] {
        users.add(user(name)).unwrap();
    }
    let text = users.to_text().unwrap();
    assert_eq!(parse("u", &text).unwrap(), users);
}

#[test]
fn problems_are_named_with_their_place() {
    let entry = |name: &str, rest: &str| {
        format!("[[user]]\nname = \"{name}\"\nhash = \"{HASH}\"\n{rest}\n")
    };
    let problems = |text: &str| {
        let said = parse("u.toml", text).unwrap_err().to_string();
        said.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let good = entry("a", "root = \"/a\"");
    assert_eq!(parse("u", &good).unwrap().0[0].rights, Rights::ALL);
    assert!(parse("u", "").unwrap().0.is_empty());

    let said = problems(&format!("{good}{good}{}", entry("ftp", "root = \"b\"")));
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].starts_with("u.toml:5:1: there is a user \"a\" further up"));
    assert!(said[1].starts_with("u.toml:9:1: \"ftp\" cannot be"));
    assert!(said[2].starts_with("u.toml:9:1: the root of \"ftp\" must be an absolute path"));

    let said = problems(&entry("a", "root = \"/a\"\nright = \"all\""));
    assert!(
        said[0].starts_with("u.toml:5:1: unknown field `right`"),
        "{said:?}"
    );
    assert!(said[0].ends_with("did you mean `rights`?"), "{said:?}");
    let said = problems("[[user]]\nname = \"a\"\nhash = \"x\"\nroot = \"/\"\n");
    assert!(
        said[0].starts_with("u.toml:3:8: not a password hash"),
        "{said:?}"
    );
    let said = problems(&entry("a", "root = \"/a\"\nallow = [\"here\"]"));
    assert!(
        said[0].starts_with("u.toml:5:9: \"here\" is not a network"),
        "{said:?}"
    );
    let said = problems(&entry("a", "root = \"/a\"\n[user.limits]\nquota = 1"));
    assert!(
        said[0].starts_with("u.toml:6:1: unknown field `quota`"),
        "{said:?}"
    );
    let said = problems(&entry("a", "root = \"/a\"\nrights = \"some\""));
    assert!(
        said[0].starts_with("u.toml:5:10: unknown rights"),
        "{said:?}"
    );
}
