//! `pinhole user`: the users file, one subcommand for each thing that can be done to it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Subcommand;

use super::prompt;
use crate::auth::{Hash, Password, Rights, User, Users, UsersFile};

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The users file; the configuration's `users` has to name it
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "/etc/pinhole/users.toml"
    )]
    file: PathBuf,

    #[command(subcommand)]
    action: Action,
}

const EXAMPLES: &str = "\
Passwords are asked for on the terminal, or read from the first line of stdin; they are never arguments,
which every process on the host can see. A running server reads the file when it is started again.

Examples:
  pinhole user add alice --root /srv/alice
  pinhole user add mirror --root /srv/pub --read-only < password.txt
  pinhole user passwd alice
  pinhole user list --json";

#[derive(Debug, Subcommand)]
enum Action {
    /// Add a user, making the file if there is none
    Add {
        /// What the user says to USER
        name: String,
        /// The directory that the user sees as "/"
        #[arg(long, value_name = "DIR")]
        root: PathBuf,
        /// Looking and fetching only; without it the user may do everything in the root
        #[arg(long)]
        read_only: bool,
    },
    /// Give a user another password
    Passwd {
        /// Whom
        name: String,
    },
    /// Remove a user (the files stay)
    Del {
        /// Whom
        name: String,
    },
    /// Show all users
    List {
        /// As JSON: a list of objects with name, root and rights
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    act(args, prompt::new_password, &mut io::stdout().lock())
}

/// Does it, asking `password` for a password and telling `out` what was done.
fn act(
    args: &Args,
    password: impl FnOnce() -> anyhow::Result<Password>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let file = UsersFile::new(&args.file);
    let shown = args.file.display();
    match &args.action {
        Action::Add {
            name,
            root,
            read_only,
        } => {
            file.must_not_have(name)?;
            let root = existing_root(root)?;
            let rights = if *read_only {
                Rights::READ_ONLY
            } else {
                Rights::ALL
            };
            let hash = Hash::new(&password()?)?;
            file.add(User {
                name: name.clone(),
                hash,
                root,
                rights,
            })?;
            writeln!(out, "added {name} ({rights}) to {shown}")?;
        }
        Action::Passwd { name } => {
            file.must_have(name)?;
            file.set_password(name, &password()?)?;
            writeln!(out, "changed the password of {name} in {shown}")?;
        }
        Action::Del { name } => {
            file.remove(name)?;
            writeln!(out, "removed {name} from {shown}")?;
        }
        Action::List { json: true } => {
            serde_json::to_writer_pretty(&mut *out, &as_json(&file.load()?))?;
            writeln!(out)?;
        }
        Action::List { json: false } => table(&file.load()?, out)?,
    }
    Ok(())
}

/// The file holds absolute paths: what a relative one means would depend on where the server is
/// started.
fn existing_root(root: &Path) -> anyhow::Result<PathBuf> {
    let root = std::path::absolute(root).context("the root cannot be made absolute")?;
    if !root.is_dir() {
        let shown = root.display();
        bail!("the root {shown} is not a directory: make it first (mkdir -p {shown})");
    }
    Ok(root)
}

fn as_json(users: &Users) -> serde_json::Value {
    let object = |user: &User| {
        serde_json::json!({
            "name": user.name,
            "root": user.root.display().to_string(),
            "rights": user.rights,
        })
    };
    users.iter().map(object).collect()
}

fn table(users: &Users, out: &mut impl Write) -> io::Result<()> {
    let width = |column: fn(&User) -> usize| users.iter().map(column).max().unwrap_or(0);
    let name = width(|user| user.name.chars().count());
    let rights = width(|user| user.rights.to_string().len());
    for user in users.iter() {
        let root = user.root.display();
        // Padding works on text only.
        let granted = user.rights.to_string();
        writeln!(out, "{:name$}  {granted:rights$}  {root}", user.name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
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
        assert!(said("add b secret --root DIR", "x").contains("unexpected argument"));
    }
}
