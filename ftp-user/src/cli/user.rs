//! `pinhole user`: the users file, one subcommand for each thing that can be done to it.

mod settings;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Subcommand;

use super::prompt;
use crate::auth::{Hash, Password, User, Users, UsersFile};
use crate::config::{Config, PortSet};
use settings::{Settings, summary};

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
which every process on the host can see. A running server reads the file when it is told to, by SIGHUP
(`systemctl reload pinhole`), or started again.

Examples:
  pinhole user add alice --root /srv/alice
  pinhole user add mirror --root /srv/pub --read-only < password.txt
  pinhole user set alice --uid www-data --allow 192.0.2.0/24 --quota-bytes 10GiB
  pinhole user set alice --allow none --disable
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
        #[command(flatten)]
        settings: Box<Settings>,
    },
    /// Change a user's settings; "none" takes one away
    Set {
        /// Whom
        name: String,
        /// The directory that the user sees as "/"
        #[arg(long, value_name = "DIR")]
        root: Option<PathBuf>,
        #[command(flatten)]
        settings: Box<Settings>,
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
        /// As JSON: a list of objects with name, root, rights and what else is set
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
            settings,
        } => {
            file.must_not_have(name)?;
            settings.can_be(None, passive_ports(&args.file).as_ref())?;
            let root = existing_root(root)?;
            let mut user = User::new(name, Hash::new(&password()?)?, root);
            settings.apply(&mut user);
            let rights = user.rights;
            file.add(user)?;
            writeln!(out, "added {name} ({rights}) to {shown}")?;
        }
        Action::Set {
            name,
            root,
            settings,
        } => {
            let before = file.get(name)?;
            settings.can_be(Some(&before), passive_ports(&args.file).as_ref())?;
            let root = root.as_deref().map(existing_root).transpose()?;
            file.change(name, |user| {
                if let Some(root) = root {
                    user.root = root;
                }
                settings.apply(user);
            })?;
            writeln!(out, "changed {name} in {shown}")?;
        }
        Action::Passwd { name } => {
            file.get(name)?;
            file.set_password(name, &password()?)?;
            writeln!(out, "changed the password of {name} in {shown}")?;
        }
        Action::Del { name } => {
            file.remove(name)?;
            writeln!(out, "removed {name} from {shown}")?;
        }
        Action::List { json: true } => {
            serde_json::to_writer_pretty(&mut *out, &as_json(&file.load()?)?)?;
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

/// `passive.ports` of the configuration beside the users file, if that is the one that names it. What
/// is wrong with it is `pinhole check`'s.
fn passive_ports(users: &Path) -> Option<PortSet> {
    let path = users.parent()?.join("pinhole.toml");
    let config = Config::parse(&path, &std::fs::read_to_string(&path).ok()?).ok()?;
    let same = std::fs::canonicalize(config.users?).ok()? == std::fs::canonicalize(users).ok()?;
    same.then_some(config.passive.ports)
}

fn as_json(users: &Users) -> serde_json::Result<serde_json::Value> {
    let object = |user: &User| {
        let mut object = serde_json::to_value(user)?;
        if let Some(fields) = object.as_object_mut() {
            fields.remove("hash");
        }
        Ok(object)
    };
    users.iter().map(object).collect()
}

fn table(users: &Users, out: &mut impl Write) -> io::Result<()> {
    let row = |user: &User| {
        [
            user.name.clone(),
            user.rights.to_string(),
            user.root.display().to_string(),
            summary(user),
        ]
    };
    let rows: Vec<_> = users.iter().map(row).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let (first, second, third) = (width(0), width(1), width(2));
    for [name, rights, root, settings] in &rows {
        let line = format!("{name:first$}  {rights:second$}  {root:third$}  {settings}");
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
