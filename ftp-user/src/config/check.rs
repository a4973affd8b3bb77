//! From the file's text to a [`Config`]: what values are allowed, and words for those that are not.
//! All problems are found in one pass, each with its place.

mod data;
mod enforce;
mod guard;
mod limits;
mod listen;
mod pam;
mod tls;
mod virtual_host;

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::file::{File, Given};
use super::quotes::{Number, Time};
use super::values::{duration, greeting, listened_passive_port};
use super::{Anonymous, Config, ConfigError, Problem};

/// Whether directories and files that the configuration names have to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    AtTheDisk,
    AtTheTextOnly,
}

pub(super) fn parse(path: &Path, text: &str, look: Look) -> Result<Config, ConfigError> {
    let file: File = toml::from_str(text)
        .map_err(|error| ConfigError::Invalid(vec![Problem::from_toml(path, text, &error)]))?;
    let mut check = Check {
        path,
        text,
        look,
        problems: Vec::new(),
    };
    let config = check.config(file);
    if check.problems.is_empty() {
        Ok(config)
    } else {
        let mut problems = check.problems;
        problems.sort_by_key(|problem| (problem.line, problem.column));
        Err(ConfigError::Invalid(problems))
    }
}

struct Check<'a> {
    path: &'a Path,
    text: &'a str,
    look: Look,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn config(&mut self, file: File) -> Config {
        let mut config = Config::default();
        let ports_at = file.passive.ports.as_ref().map(Spanned::span);
        let listen_at = file.listen.as_ref().map(Spanned::span);
        if let Some(listen) = file.listen {
            config.listen = self.listen(&listen, &[]);
            if listen.get_ref().is_empty() {
                let right = "the list is empty: name an address such as \"[::]:21\"";
                self.problem(listen.span(), right);
            }
        }
        self.text(file.greeting, &mut config.greeting, greeting);
        config.users = file.users.map(|users| self.users(&users));
        let alone = config.users.is_none() && file.pam.is_none();
        config.anonymous = file.anonymous.map(|anonymous| Anonymous {
            root: self.root(&anonymous.root, alone),
            uid: anonymous.uid,
            gid: anonymous.gid,
            limits: anonymous.limits,
        });
        config.pam = file.pam.map(|pam| self.pam(pam));
        config.tls = file.tls.map(|tls| self.tls(tls, &config.listen));
        let (tls, anonymous) = (config.tls.is_some(), config.anonymous.is_some());
        config.hosts = self.hosts(file.hosts, file.host, tls, anonymous);
        config.passive = self.passive(file.passive);
        config.active = self.active(file.active);
        config.enforce = self.enforce(file.enforce);
        config.guard = self.guard(file.guard);
        config.timeouts = self.timeouts(file.timeouts);
        config.limits = self.limits(file.limits);
        config.uploads = file.uploads;
        set(file.log.format, &mut config.log.format);
        config.log.xferlog = file.log.xferlog.map(|path| self.resolved(&path));
        if let Some(port) = config.listened_passive_port() {
            let at = ports_at.clone().or(listen_at).unwrap_or_default();
            self.problem(at, listened_passive_port(port));
        }
        if config.leaves_no_port() {
            let why = "ports: no port from 1024 on is left for the internal listener: leave one out of \
                       them, such as \"!65535\"";
            self.problem(ports_at.unwrap_or_default(), why);
        }
        config
    }

    fn problem(&mut self, at: Range<usize>, message: impl Into<String>) {
        self.problems
            .push(Problem::at(self.path, self.text, at.start, message));
    }

    /// Reads a value from text. Says whether there was one and it was good.
    fn text<T>(
        &mut self,
        given: Given<impl AsRef<str>>,
        into: &mut T,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> bool {
        let Some(given) = given else { return false };
        match read(given.get_ref().as_ref()) {
            Ok(value) => {
                *into = value;
                true
            }
            Err(message) => {
                self.problem(given.span(), message);
                false
            }
        }
    }

    fn duration(&mut self, given: Given<Time>, into: &mut Duration, least_ms: u64) {
        let least = Duration::from_millis(least_ms);
        self.text(given, into, |text| duration(text, least));
    }

    fn number<T: TryFrom<i64>>(
        &mut self,
        given: Given<Number>,
        into: &mut T,
        allowed: RangeInclusive<i64>,
        what: impl Display,
    ) {
        let Some(given) = given else { return };
        let Number(number) = *given.get_ref();
        match T::try_from(number) {
            Ok(value) if allowed.contains(&number) => *into = value,
            _ => {
                let (least, most) = allowed.into_inner();
                self.problem(
                    given.span(),
                    format!("{number} is not {what}: {least} to {most}"),
                );
            }
        }
    }

    fn resolved(&self, path: &Path) -> PathBuf {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        folder.join(path)
    }

    /// A root that is missing keeps nobody out but those whose it is, unless they are `alone`.
    fn root(&mut self, given: &Spanned<PathBuf>, alone: bool) -> PathBuf {
        let path = self.resolved(given.get_ref());
        if alone && self.look == Look::AtTheDisk {
            let shown = path.display();
            match std::fs::metadata(&path) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => self.problem(given.span(), format!("{shown} is not a directory")),
                Err(error) => {
                    self.problem(
                        given.span(),
                        format!("the root {shown} cannot be used: {error}"),
                    );
                }
            }
        }
        path
    }

    fn users(&mut self, given: &Spanned<PathBuf>) -> PathBuf {
        let shown = self.resolved(given.get_ref());
        let make = format!(
            "; `pinhole user add NAME --root DIR --file {}` makes one",
            shown.display()
        );
        self.file(given, "users file", &make)
    }

    /// A file that has to be there. `hint` says how it gets there.
    fn file(&mut self, given: &Spanned<PathBuf>, what: &str, hint: &str) -> PathBuf {
        let path = self.resolved(given.get_ref());
        if self.look == Look::AtTheDisk {
            let shown = path.display();
            match std::fs::metadata(&path) {
                Ok(found) if found.is_file() => {}
                Ok(_) => self.problem(given.span(), format!("{shown} is not a file")),
                Err(error) => self.problem(
                    given.span(),
                    format!("the {what} {shown} cannot be used: {error}{hint}"),
                ),
            }
        }
        path
    }
}

fn set<T>(given: Option<T>, into: &mut T) {
    if let Some(value) = given {
        *into = value;
    }
}
