//! The configuration file's shape: the keys there are, each value with its place in the text. What
//! values are allowed is `check`'s business.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use toml::Spanned;

use super::{
    AccountLimits, Attach, Binding, Interfaces, LogFormat, OnExit, Principal, Rights, Stray,
    Unresolved, Uploads, Use,
};

use super::quotes::{Number, Ports, Time};

/// A value that may be missing, with its place.
pub(super) type Given<T> = Option<Spanned<T>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) listen: Given<Vec<Spanned<String>>>,
    pub(super) greeting: Given<String>,
    #[serde(default)]
    pub(super) hosts: Vec<Spanned<String>>,
    pub(super) users: Given<PathBuf>,
    pub(super) anonymous: Option<Anonymous>,
    pub(super) pam: Option<Pam>,
    pub(super) tls: Option<Tls>,
    #[serde(default)]
    pub(super) host: Vec<Host>,
    #[serde(default)]
    pub(super) passive: Passive,
    #[serde(default)]
    pub(super) active: Active,
    #[serde(default)]
    pub(super) enforce: Enforce,
    #[serde(default)]
    pub(super) guard: Guard,
    #[serde(default)]
    pub(super) timeouts: Timeouts,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) uploads: Uploads,
    #[serde(default)]
    pub(super) log: Log,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pam {
    pub(super) service: Given<String>,
    pub(super) min_uid: Given<Number>,
    pub(super) rights: Option<Rights>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Anonymous {
    pub(super) root: Spanned<PathBuf>,
    pub(super) uid: Option<Principal>,
    pub(super) gid: Option<Principal>,
    #[serde(default)]
    pub(super) limits: AccountLimits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) certificate: Spanned<PathBuf>,
    pub(super) key: Spanned<PathBuf>,
    pub(super) mode: Given<Use>,
    pub(super) data: Given<Use>,
    pub(super) session_binding: Option<Binding>,
    pub(super) client_ca: Given<PathBuf>,
    pub(super) check_server_name: Option<bool>,
    pub(super) listen: Given<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) listener: Vec<ListenerTls>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListenerTls {
    pub(super) address: Spanned<SocketAddr>,
    pub(super) mode: Option<Use>,
    pub(super) data: Option<Use>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Host {
    pub(super) names: Spanned<Vec<Spanned<String>>>,
    pub(super) greeting: Given<String>,
    pub(super) certificate: Given<PathBuf>,
    pub(super) key: Given<PathBuf>,
    pub(super) anonymous_root: Given<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Passive {
    pub(super) ports: Given<Ports>,
    pub(super) address: Given<String>,
    #[serde(default)]
    pub(super) addresses: BTreeMap<Spanned<String>, Spanned<String>>,
    pub(super) connect_timeout: Given<Time>,
    pub(super) port_timeout: Given<Time>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) format: Option<LogFormat>,
    pub(super) xferlog: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Active {
    pub(super) enabled: Option<bool>,
    pub(super) from_port_20: Option<bool>,
    pub(super) default_port: Option<bool>,
    pub(super) connect_timeout: Given<Time>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Enforce {
    pub(super) enabled: Option<bool>,
    pub(super) interfaces: Given<Interfaces>,
    pub(super) attach: Option<Attach>,
    pub(super) mark: Given<Number>,
    pub(super) client_prefix_v4: Given<Number>,
    pub(super) client_prefix_v6: Given<Number>,
    pub(super) stray: Option<Stray>,
    pub(super) max_pinholes: Given<Number>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Guard {
    pub(super) control_ports: Given<Ports>,
    pub(super) ports: Given<Ports>,
    pub(super) interfaces: Given<Interfaces>,
    pub(super) attach: Option<Attach>,
    pub(super) dry_run: Option<bool>,
    pub(super) on_exit: Option<OnExit>,
    pub(super) unresolved: Option<Unresolved>,
    pub(super) netns: Given<Vec<Spanned<String>>>,
    pub(super) bpffs: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Timeouts {
    pub(super) idle: Given<Time>,
    pub(super) login: Given<Time>,
    pub(super) stall: Given<Time>,
    pub(super) drain: Given<Time>,
    pub(super) restart: Given<Time>,
    pub(super) takeover: Given<Time>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) sessions: Given<Number>,
    pub(super) sessions_per_address: Given<Number>,
    pub(super) login_failures: Given<Number>,
    pub(super) recursive_entries: Given<Number>,
    pub(super) recursive_depth: Given<Number>,
    #[serde(default)]
    pub(super) account: AccountLimits,
}

impl<'de> Deserialize<'de> for Interfaces {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AutoOrNames;

        impl<'de> Visitor<'de> for AutoOrNames {
            type Value = Interfaces;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"auto\" or a list such as [\"eth0\"]")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Interfaces, E> {
                match text {
                    "auto" => Ok(Interfaces::Auto),
                    name => Err(E::custom(format_args!(
                        "interfaces are \"auto\" or a list: write [\"{name}\"]"
                    ))),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Interfaces, A::Error> {
                let mut named = Vec::new();
                while let Some(name) = names.next_element::<String>()? {
                    named.push(name);
                }
                if named.is_empty() {
                    return Err(A::Error::custom(
                        "the list of interfaces is empty: name one, or write \"auto\"",
                    ));
                }
                Ok(Interfaces::Named(named))
            }
        }

        deserializer.deserialize_any(AutoOrNames)
    }
}
