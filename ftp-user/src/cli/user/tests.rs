//! The life of a user, by the command's own words.

use clap::Parser;
use tempfile::TempDir;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// Runs `pinhole user LINE` on the users file of `dir`; "DIR" is `dir`.
fn user(dir: &TempDir, line: &str, password: &str) -> Result<String, String> {
    let here = dir.path().to_str().unwrap();
    let file = format!("{here}/users.toml");
    let words = line
        .split_whitespace()
        .map(|word| word.replace("DIR", here));
    let words = ["user".to_owned(), "--file".to_owned(), file]
        .into_iter()
        .chain(words);
    let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    let password = || Ok(Password::for_new_account(password.into())?);
    act(&line.args, password, &mut out).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn a_user_comes_changes_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().display();
    let said = user(&dir, "add alice --root DIR", "secret").unwrap();
    assert_eq!(said, format!("added alice (all) to {here}/users.toml\n"));
    user(&dir, "add bo --root DIR --read-only", "x").unwrap();
    assert_eq!(
        user(&dir, "list", "").unwrap(),
        format!("alice  all        {here}\nbo     read-only  {here}\n")
    );
    let json: serde_json::Value =
        serde_json::from_str(&user(&dir, "list --json", "").unwrap()).unwrap();
    assert_eq!(json[1]["name"], "bo");
    assert_eq!(json[1]["rights"], "read-only");
    assert_eq!(json[0]["root"], here.to_string());
    assert!(
        !json.to_string().contains("argon2"),
        "hashes stay in the file"
    );

    let hash = || {
        let users = UsersFile::new(dir.path().join("users.toml"))
            .load()
            .unwrap();
        users.iter().next().unwrap().hash.clone()
    };
    assert!(hash().verify(&Password::new(b"secret".to_vec())));
    user(&dir, "passwd alice", "other").unwrap();
    assert!(hash().verify(&Password::new(b"other".to_vec())));
    user(&dir, "del alice", "").unwrap();
    user(&dir, "del bo", "").unwrap();
    assert_eq!(user(&dir, "list", "").unwrap(), "");
}

#[test]
fn settings_are_given_changed_and_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    let all = "--uid daemon --gid 7 --umask 027 --allow 192.0.2.0/24,::1 --passive-ports 30000-30009 \
               --fxp 198.51.100.7 --disable --sessions 3 --upload-rate 1MiB --download-rate 2MiB \
               --session-upload-rate 3MiB --session-download-rate 4MiB --file-size 5MiB \
               --quota-bytes 6MiB --quota-files 7 --rights read,list,write";
    user(&dir, &format!("add alice --root DIR {all}"), "x").unwrap();
    let list = || user(&dir, "list", "").unwrap();
    let json = || {
        let text = user(&dir, "list --json", "").unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    let said = list();
    let settings = "disabled, uid daemon, gid 7, umask 027, from 192.0.2.0/24 ::1, \
                    ports 30000-30009, fxp 198.51.100.7, sessions 3, up 1MiB, down 2MiB, \
                    session up 3MiB, session down 4MiB, file size 5MiB, quota 6MiB, \
                    quota files 7\n";
    assert!(
        said.contains("read, list, write") && said.ends_with(settings),
        "{said}"
    );
    assert_eq!(json()[0]["allow"][1], "::1");
    assert_eq!(json()[0]["gid"], 7);
    assert_eq!(json()[0]["limits"]["quota_bytes"], "6MiB");

    // Nothing but what is named is changed.
    user(&dir, "set alice --sessions 4", "").unwrap();
    assert_eq!(list(), said.replace("sessions 3", "sessions 4"));
    let none = "--uid none --gid none --umask none --allow none --passive-ports none --fxp none \
                --enable --sessions none --upload-rate none --download-rate none \
                --session-upload-rate none --session-download-rate none --file-size none \
                --quota-bytes none --quota-files none --rights all";
    user(&dir, &format!("set alice {none}"), "").unwrap();
    let here = dir.path().display();
    assert_eq!(list(), format!("alice  all  {here}\n"));
    std::fs::create_dir(dir.path().join("new")).unwrap();
    user(&dir, "set alice --root DIR/new", "").unwrap();
    assert_eq!(json()[0]["root"], format!("{here}/new"));
}

#[test]
fn what_cannot_be_done_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let said = |line: &str, password: &str| user(&dir, line, password).unwrap_err();
    assert!(said("list", "").contains("cannot read the users file"));
    assert!(said("add a --root DIR/none", "x").contains("mkdir -p"));
    assert!(said("add a --root DIR", "").contains("empty"));
    assert!(said("add anonymous --root DIR", "x").contains("anonymous session"));
    assert!(said("add a", "x").contains("--root"));
    user(&dir, "add a --root DIR", "x").unwrap();
    assert!(said("add a --root DIR", "x").contains("already"));
    assert!(said("passwd b", "x").contains("no user \"b\""));
    assert!(said("del b", "").contains("no user \"b\""));
    assert!(said("set b --disable", "").contains("no user \"b\""));
    assert!(said("set a --root DIR/none", "").contains("mkdir -p"));
    assert!(said("set a --allow here", "").contains("not a network"));
    assert!(said("set a --umask 888", "").contains("octal"));
    assert!(said("set a --rights fly", "").contains("unknown right"));
    assert!(said("set a --quota-bytes much", "").contains("amount of bytes"));
    assert!(said("add b --root DIR --uid gone", "x").contains("no user \"gone\""));
    assert!(said("add b --root DIR --uid gone --disable", "x").contains("no user \"gone\""));
    assert!(said("set a --uid daemon --gid gone", "").contains("no group"));
    assert!(said("set a --uid root", "").contains("passes over"));
    assert!(said("set a --gid daemon", "").contains("needs a uid"));
    // Of a configuration that names another file, or none, nothing is known.
    let config = dir.path().join("pinhole.toml");
    std::fs::write(&config, "").unwrap();
    user(&dir, "set a --passive-ports 1-5", "").unwrap();
    std::fs::write(&config, "users = \"users.toml\"\n").unwrap();
    assert!(said("set a --passive-ports 1-5", "").contains("not among passive.ports"));
    // What is not changed is not looked at: one whose user is gone can be disabled.
    user(&dir, "set a --disable --passive-ports none", "").unwrap();
    assert!(said("add b secret --root DIR", "x").contains("unexpected argument"));
}
