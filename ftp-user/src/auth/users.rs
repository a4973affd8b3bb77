//! The users file as text: TOML that `pinhole user` writes and the daemon reads.

mod file;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Spanned;

pub use self::file::UsersFile;
use super::{AuthError, Hash, Rights};
use crate::config::{AccountLimits, Network, PortSet, Principal, Problem, Umask, Use};

const HEADER: &str = "\
# The users of Pinhole. `pinhole user add|set|passwd|del|list` edits this file; comments are not
# kept. `pinhole user set --help` says what each setting means.
";

/// A user with a password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// What USER says.
    pub name: String,
    /// Of the password.
    pub hash: Hash,
    /// The directory they see as "/".
    pub root: PathBuf,
    /// What they may do in it.
    #[serde(default = "all")]
    pub rights: Rights,
    /// As which user of the host files are made and read; `None`: the daemon's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<Principal>,
    /// The group of new files, if not that user's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<Principal>,
    /// Permission bits that new files do not get; `None`: the daemon's own umask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<Umask>,
    /// Where they may log in from; empty: from anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<Network>,
    /// Which of `passive.ports` they get; `None`: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passive_ports: Option<PortSet>,
    /// Where PORT and EPRT may lead beside their own address (FXP).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fxp: Vec<Network>,
    /// Whether they are kept out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// TLS on control connections: "require" beyond what the listener asks, or "off".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Use>,
    /// The same for data connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_data: Option<Use>,
    /// What they may use; where it says nothing, `limits.account` of the configuration does.
    #[serde(default, skip_serializing_if = "AccountLimits::is_default")]
    pub limits: AccountLimits,
}

impl User {
    /// A user who may do everything in `root`, from anywhere.
    pub fn new(name: impl Into<String>, hash: Hash, root: impl Into<PathBuf>) -> User {
        User {
            name: name.into(),
            hash,
            root: root.into(),
            rights: Rights::ALL,
            uid: None,
            gid: None,
            umask: None,
            allow: Vec::new(),
            passive_ports: None,
            fxp: Vec::new(),
            disabled: false,
            tls: None,
            tls_data: None,
            limits: AccountLimits::default(),
        }
    }
}

fn all() -> Rights {
    Rights::ALL
}

/// All users of a file, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Users(Vec<User>);

/// A users file as it was read: its users, and the text to point into.
#[derive(Debug)]
pub struct ReadUsers {
    path: PathBuf,
    text: String,
    users: Vec<Spanned<User>>,
}

impl ReadUsers {
    /// Takes `text` as that of the users file `path`.
    pub fn parse(path: &Path, text: String) -> Result<ReadUsers, AuthError> {
        let users = read(path, &text)?;
        let path = path.to_owned();
        Ok(ReadUsers { path, text, users })
    }

    /// All users.
    pub fn iter(&self) -> impl Iterator<Item = &Spanned<User>> {
        self.users.iter()
    }

    /// What is wrong with one of them, where it stands.
    pub fn problem(&self, user: &Spanned<User>, message: String) -> Problem {
        Problem::at(&self.path, &self.text, user.span().start, message)
    }

    /// Without the places.
    pub fn into_users(self) -> Users {
        Users(self.users.into_iter().map(Spanned::into_inner).collect())
    }
}

/// The users of a users file's text, none of whom could not be one.
fn read(path: &Path, text: &str) -> Result<Vec<Spanned<User>>, AuthError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Document {
        #[serde(default)]
        user: Vec<Spanned<User>>,
    }

    let document: Document = toml::from_str(text)
        .map_err(|error| AuthError::Invalid(vec![Problem::from_toml(path, text, &error)]))?;
    let mut problems = Vec::new();
    let mut names = HashSet::new();
    for spanned in &document.user {
        let (at, user) = (spanned.span().start, spanned.get_ref());
        let mut wrong = |message: String| problems.push(Problem::at(path, text, at, message));
        if let Err(error) = check_name(&user.name) {
            wrong(error.to_string());
        }
        if !names.insert(&user.name) {
            wrong(format!(
                "there is a user \"{}\" further up already",
                user.name
            ));
        }
        if !user.root.is_absolute() {
            wrong(format!(
                "the root of \"{}\" must be an absolute path such as \"/srv/{}\"",
                user.name, user.name
            ));
        }
    }
    if problems.is_empty() {
        Ok(document.user)
    } else {
        Err(AuthError::Invalid(problems))
    }
}

impl Users {
    /// All users.
    pub fn iter(&self) -> impl Iterator<Item = &User> {
        self.0.iter()
    }

    /// Adds a user.
    pub fn add(&mut self, user: User) -> Result<(), AuthError> {
        check_name(&user.name)?;
        if self.0.iter().any(|other| other.name == user.name) {
            return Err(AuthError::Exists(user.name));
        }
        self.0.push(user);
        Ok(())
    }

    /// Changes a user. `false`: there is no such user.
    pub fn change(&mut self, name: &str, change: impl FnOnce(&mut User)) -> bool {
        let user = self.0.iter_mut().find(|user| user.name == name);
        user.map(change).is_some()
    }

    /// Removes a user. `false`: there is no such user.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|user| user.name != name);
        self.0.len() < before
    }

    fn to_text(&self) -> Result<String, toml::ser::Error> {
        #[derive(Serialize)]
        struct Document<'a> {
            user: &'a [User],
        }

        let body = toml::to_string(&Document { user: &self.0 })?;
        Ok(format!("{HEADER}\n{body}"))
    }
}

/// RFC 959 section 5.3.2: <username> is a <string>; and it has to be told from the anonymous ones.
fn check_name(name: &str) -> Result<(), AuthError> {
    let problem = if name.is_empty() {
        "it is empty"
    } else if name.len() > 64 {
        "it is longer than 64 bytes"
    } else if name.chars().any(char::is_control) {
        "it has a control character in it"
    } else if name.trim() != name {
        "it begins or ends with a space"
    } else if is_anonymous(name.as_bytes()) {
        "it means an anonymous session"
    } else {
        return Ok(());
    };
    Err(AuthError::BadName {
        name: name.to_owned(),
        problem,
    })
}

/// Whether USER with this name asks for an anonymous session (RFC 1635).
pub(super) fn is_anonymous(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"anonymous") || name.eq_ignore_ascii_case(b"ftp")
}

#[cfg(test)]
mod tests;
