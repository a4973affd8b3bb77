//! From the file's text to a [`Config`]: what values are allowed, and words for those that are not.
//! All problems are found in one pass, each with its place.

mod guard;
mod pam;
mod tls;

use std::fmt::Display;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::file::{File, Given};
use super::values::{
    collide, duration, greeting, host_name, listened_passive_port, not_an_address,
};
use super::{Anonymous, Config, ConfigError, ForNetwork, Interfaces, Pam, Problem, PublicAddress};

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
        let passive = &mut config.passive;
        self.text(file.passive.ports, &mut passive.ports, |text| {
            text.parse().map_err(|error| format!("ports: {error}"))
        });
        self.text(file.passive.address, &mut passive.address, str::parse);
        for (network, address) in file.passive.addresses {
            let (mut named, mut told) = (None, PublicAddress::Own);
            self.text(Some(network), &mut named, |text| text.parse().map(Some));
            self.text(Some(address), &mut told, str::parse);
            if let Some(network) = named {
                passive.addresses.push(ForNetwork {
                    network,
                    address: told,
                });
            }
        }
        self.duration(
            file.passive.connect_timeout,
            &mut passive.connect_timeout,
            1,
        );
        self.duration(file.passive.port_timeout, &mut passive.port_timeout, 0);

        let active = &mut config.active;
        set(file.active.enabled, &mut active.enabled);
        set(file.active.from_port_20, &mut active.from_port_20);
        set(file.active.default_port, &mut active.default_port);
        self.duration(file.active.connect_timeout, &mut active.connect_timeout, 1);

        let enforce = &mut config.enforce;
        set(file.enforce.enabled, &mut enforce.enabled);
        set(file.enforce.attach, &mut enforce.attach);
        set(file.enforce.stray, &mut enforce.stray);
        if let Some(interfaces) = file.enforce.interfaces {
            self.interfaces(&interfaces);
            enforce.interfaces = interfaces.into_inner();
        }
        let mut mark = 0u32;
        self.number(
            file.enforce.mark,
            &mut mark,
            1..=u32::MAX.into(),
            "a firewall mark",
        );
        enforce.mark = NonZeroU32::new(mark);
        let prefix = "an IPv4 prefix length";
        self.number(
            file.enforce.client_prefix_v4,
            &mut enforce.client_prefix_v4,
            1..=32,
            prefix,
        );
        let prefix = "an IPv6 prefix length";
        self.number(
            file.enforce.client_prefix_v6,
            &mut enforce.client_prefix_v6,
            1..=128,
            prefix,
        );
        let rows = "the number of rows";
        self.number(
            file.enforce.max_pinholes,
            &mut enforce.max_pinholes,
            1..=1 << 24,
            rows,
        );

        config.guard = self.guard(file.guard);

        let timeouts = &mut config.timeouts;
        self.duration(file.timeouts.idle, &mut timeouts.idle, 1);
        self.duration(file.timeouts.login, &mut timeouts.login, 1);
        self.duration(file.timeouts.stall, &mut timeouts.stall, 1);
        self.duration(file.timeouts.drain, &mut timeouts.drain, 0);
        self.duration(file.timeouts.restart, &mut timeouts.restart, 0);

        set(file.log.format, &mut config.log.format);
        config.log.xferlog = file.log.xferlog.map(|path| self.resolved(&path));

        let limits = &mut config.limits;
        let sessions = 0..=1 << 24;
        let what = "the number of sessions";
        self.number(
            file.limits.sessions,
            &mut limits.sessions,
            sessions.clone(),
            what,
        );
        self.number(
            file.limits.sessions_per_address,
            &mut limits.sessions_per_address,
            sessions,
            what,
        );
        limits.account = file.limits.account;
        config.uploads = file.uploads;
        let limits = &mut config.limits;
        let what = "the number of failed logins";
        self.number(
            file.limits.login_failures,
            &mut limits.login_failures,
            1..=1000,
            what,
        );

        self.text(file.greeting, &mut config.greeting, greeting);
        for host in file.hosts.unwrap_or_default() {
            match host_name(host.get_ref()) {
                Ok(()) => config.hosts.push(host.into_inner()),
                Err(message) => self.problem(host.span(), message),
            }
        }
        config.users = file.users.map(|users| self.users(&users));
        config.anonymous = file.anonymous.map(|anonymous| Anonymous {
            root: self.root(&anonymous.root),
            uid: anonymous.uid,
            gid: anonymous.gid,
            limits: anonymous.limits,
        });
        let listen_at = file.listen.as_ref().map(Spanned::span);
        if let Some(listen) = file.listen {
            config.listen = self.listen(&listen, &[]);
            if listen.get_ref().is_empty() {
                let right = "the list is empty: name an address such as \"[::]:21\"";
                self.problem(listen.span(), right);
            }
        }
        config.pam = file.pam.map(|pam| self.pam(pam));
        config.tls = file.tls.map(|tls| self.tls(tls, &config.listen));
        if let Some(port) = config.listened_passive_port() {
            let at = ports_at.or(listen_at).unwrap_or_default();
            self.problem(at, listened_passive_port(port));
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
        given: Given<String>,
        into: &mut T,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> bool {
        let Some(given) = given else { return false };
        match read(given.get_ref()) {
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

    fn duration(&mut self, given: Given<String>, into: &mut Duration, least_ms: u64) {
        let least = Duration::from_millis(least_ms);
        self.text(given, into, |text| duration(text, least));
    }

    fn number<T: TryFrom<i64>>(
        &mut self,
        given: Given<i64>,
        into: &mut T,
        allowed: RangeInclusive<i64>,
        what: impl Display,
    ) {
        let Some(given) = given else { return };
        let number = *given.get_ref();
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

    fn interfaces(&mut self, given: &Spanned<Interfaces>) {
        let Interfaces::Named(names) = given.get_ref() else {
            return;
        };
        for (index, name) in names.iter().enumerate() {
            // dev_valid_name() in the kernel's net/core/dev.c.
            let valid = (1..=15).contains(&name.len())
                && !matches!(name.as_str(), "." | "..")
                && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace());
            if !valid {
                self.problem(
                    given.span(),
                    format!("\"{name}\" cannot be an interface's name"),
                );
            }
            if names.iter().take(index).any(|earlier| earlier == name) {
                self.problem(given.span(), format!("\"{name}\" is named twice"));
            }
        }
    }

    fn resolved(&self, path: &Path) -> PathBuf {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        folder.join(path)
    }

    fn root(&mut self, given: &Spanned<PathBuf>) -> PathBuf {
        let path = self.resolved(given.get_ref());
        if self.look == Look::AtTheDisk {
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

    /// Addresses to listen on beside `others`.
    fn listen(
        &mut self,
        given: &Spanned<Vec<Spanned<String>>>,
        others: &[SocketAddr],
    ) -> Vec<SocketAddr> {
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for text in given.get_ref() {
            let address = match text.get_ref().parse::<SocketAddr>() {
                Ok(address) => address,
                Err(_) => {
                    self.problem(text.span(), not_an_address(text.get_ref()));
                    continue;
                }
            };
            let mut listed = others.iter().chain(&addresses);
            if let Some(other) = listed.find(|other| collide(**other, address)) {
                let message = if *other == address {
                    format!("{address} is listed twice")
                } else {
                    format!(
                        "{address} and {other} cannot be listened on at once: one covers the other"
                    )
                };
                self.problem(text.span(), message);
            }
            addresses.push(address);
        }
        addresses
    }
}

fn set<T>(given: Option<T>, into: &mut T) {
    if let Some(value) = given {
        *into = value;
    }
}
