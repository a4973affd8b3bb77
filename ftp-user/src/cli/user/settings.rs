//! The flags of `pinhole user add` and `set`: what of a user they change, and how it is summed up.

use std::fmt;
use std::str::FromStr;

use crate::auth::{Rights, User, look_up, within};
use crate::config::{AccountLimits, Bytes, Network, PortSet, Principal, Umask, Use};

/// What flags change. Whatever is not given stays as it is.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Settings {
    /// "all", "read-only", or a list of read, list, write, append, delete, rename, mkdir, chmod;
    /// write is for STOR (behind REST too), append for APPE; CWD needs none
    #[arg(long, value_name = "RIGHTS")]
    rights: Option<Rights>,
    /// The same as --rights read-only
    #[arg(long, conflicts_with = "rights")]
    read_only: bool,
    /// User of this host, by name or number, as whom files are made and read
    #[arg(long, value_name = "USER|none")]
    uid: Option<Change<Principal>>,
    /// Group of new files, by name or number, if not the user's own
    #[arg(long, value_name = "GROUP|none")]
    gid: Option<Change<Principal>>,
    /// Permission bits that new files do not get, octal, such as 022
    #[arg(long, value_name = "UMASK|none")]
    umask: Option<Change<Umask>>,
    /// Where the user may log in from: networks with commas between them
    #[arg(long, value_name = "NETWORKS|none")]
    allow: Option<List<Network>>,
    /// Which of passive.ports the user gets, such as 30000-30099 (looked up in the pinhole.toml beside
    /// the users file)
    #[arg(long, value_name = "PORTS|none")]
    passive_ports: Option<Change<PortSet>>,
    /// Hosts that PORT and EPRT may lead to beside the client itself (FXP): networks with commas
    /// between them
    #[arg(long, value_name = "NETWORKS|none")]
    fxp: Option<List<Network>>,
    /// Keep the user out
    #[arg(long, conflicts_with = "enable")]
    disable: bool,
    /// Let the user in again
    #[arg(long)]
    enable: bool,
    /// TLS on control connections: "require" it of this user, or "off" for a user without
    #[arg(long, value_name = "off|allow|require|none")]
    tls: Option<Change<Use>>,
    /// The same for data connections
    #[arg(long, value_name = "off|allow|require|none")]
    tls_data: Option<Change<Use>>,
    /// Sessions at one time; 0 is no limit
    #[arg(long, value_name = "NUMBER|none")]
    sessions: Option<Change<u64>>,
    /// Bytes per second that all sessions may send together, such as 10MiB
    #[arg(long, value_name = "BYTES|none")]
    upload_rate: Option<Change<Bytes>>,
    /// Bytes per second that all sessions may fetch together
    #[arg(long, value_name = "BYTES|none")]
    download_rate: Option<Change<Bytes>>,
    /// Bytes per second that each session may send
    #[arg(long, value_name = "BYTES|none")]
    session_upload_rate: Option<Change<Bytes>>,
    /// Bytes per second that each session may fetch
    #[arg(long, value_name = "BYTES|none")]
    session_download_rate: Option<Change<Bytes>>,
    /// The largest file that may be written
    #[arg(long, value_name = "BYTES|none")]
    file_size: Option<Change<Bytes>>,
    /// Bytes of all files beneath the root
    #[arg(long, value_name = "BYTES|none")]
    quota_bytes: Option<Change<Bytes>>,
    /// Files, directories and links beneath the root
    #[arg(long, value_name = "NUMBER|none")]
    quota_files: Option<Change<u64>>,
}

/// A setting that is given, or taken away by "none".
#[derive(Debug, Clone)]
enum Change<T> {
    Set(T),
    Clear,
}

/// Networks, or none.
#[derive(Debug, Clone)]
struct List<T>(Vec<T>);

impl<T: FromStr<Err: fmt::Display>> FromStr for Change<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Change<T>, String> {
        match text {
            "none" => Ok(Change::Clear),
            value => value
                .parse()
                .map(Change::Set)
                .map_err(|error: T::Err| error.to_string()),
        }
    }
}

impl<T: FromStr<Err = String>> FromStr for List<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<List<T>, String> {
        match text {
            "none" => Ok(List(Vec::new())),
            list => list
                .split(',')
                .map(|one| one.trim().parse())
                .collect::<Result<_, _>>()
                .map(List),
        }
    }
}

impl Settings {
    /// Refuses what no account could be used with, on this host and with `all` the passive ports there
    /// are, if that is known. The user had `before`.
    pub(super) fn can_be(
        &self,
        before: Option<&User>,
        all: Option<&PortSet>,
    ) -> anyhow::Result<()> {
        if self.uid.is_some() || self.gid.is_some() {
            let uid = after(&self.uid, before.and_then(|user| user.uid.as_ref()));
            let gid = after(&self.gid, before.and_then(|user| user.gid.as_ref()));
            look_up(uid, gid).map_err(anyhow::Error::msg)?;
        }
        if let (Some(Change::Set(ports)), Some(all)) = (&self.passive_ports, all) {
            within(ports, all).map_err(anyhow::Error::msg)?;
        }
        Ok(())
    }

    /// Puts the flags into a user's settings.
    pub(super) fn apply(&self, user: &mut User) {
        if let Some(rights) = self.rights {
            user.rights = rights;
        }
        if self.read_only {
            user.rights = Rights::READ_ONLY;
        }
        set(&self.uid, &mut user.uid);
        set(&self.gid, &mut user.gid);
        set(&self.umask, &mut user.umask);
        if let Some(List(allow)) = &self.allow {
            user.allow.clone_from(allow);
        }
        set(&self.passive_ports, &mut user.passive_ports);
        if let Some(List(fxp)) = &self.fxp {
            user.fxp.clone_from(fxp);
        }
        user.disabled = (user.disabled || self.disable) && !self.enable;
        set(&self.tls, &mut user.tls);
        set(&self.tls_data, &mut user.tls_data);
        let limits = &mut user.limits;
        set(&self.sessions, &mut limits.sessions);
        set(&self.upload_rate, &mut limits.upload_rate);
        set(&self.download_rate, &mut limits.download_rate);
        set(&self.session_upload_rate, &mut limits.session_upload_rate);
        set(
            &self.session_download_rate,
            &mut limits.session_download_rate,
        );
        set(&self.file_size, &mut limits.file_size);
        set(&self.quota_bytes, &mut limits.quota_bytes);
        set(&self.quota_files, &mut limits.quota_files);
    }
}

/// What a setting is once it is changed.
fn after<'a, T>(change: &'a Option<Change<T>>, before: Option<&'a T>) -> Option<&'a T> {
    match change {
        None => before,
        Some(Change::Clear) => None,
        Some(Change::Set(value)) => Some(value),
    }
}

fn set<T: Clone>(change: &Option<Change<T>>, setting: &mut Option<T>) {
    match change {
        None => {}
        Some(Change::Clear) => *setting = None,
        Some(Change::Set(value)) => *setting = Some(value.clone()),
    }
}

/// What is set beside name, root and rights, in a few words; empty where nothing is.
pub(super) fn summary(user: &User) -> String {
    fn note(said: &mut Vec<String>, what: &str, value: Option<&dyn fmt::Display>) {
        if let Some(value) = value {
            said.push(format!("{what} {value}"));
        }
    }
    let list = |networks: &[Network]| {
        let texts: Vec<String> = networks.iter().map(ToString::to_string).collect();
        (!texts.is_empty()).then(|| texts.join(" "))
    };
    fn shown<T: fmt::Display>(value: &Option<T>) -> Option<&dyn fmt::Display> {
        value.as_ref().map(|value| value as &dyn fmt::Display)
    }
    let mut said = Vec::new();
    if user.disabled {
        said.push("disabled".to_owned());
    }
    note(&mut said, "uid", shown(&user.uid));
    note(&mut said, "gid", shown(&user.gid));
    note(&mut said, "umask", shown(&user.umask));
    note(&mut said, "from", shown(&list(&user.allow)));
    note(&mut said, "ports", shown(&user.passive_ports));
    note(&mut said, "fxp", shown(&list(&user.fxp)));
    note(&mut said, "tls", shown(&user.tls));
    note(&mut said, "tls data", shown(&user.tls_data));
    let AccountLimits {
        sessions,
        upload_rate,
        download_rate,
        session_upload_rate,
        session_download_rate,
        file_size,
        quota_bytes,
        quota_files,
    } = &user.limits;
    note(&mut said, "sessions", shown(sessions));
    note(&mut said, "up", shown(upload_rate));
    note(&mut said, "down", shown(download_rate));
    note(&mut said, "session up", shown(session_upload_rate));
    note(&mut said, "session down", shown(session_download_rate));
    note(&mut said, "file size", shown(file_size));
    note(&mut said, "quota", shown(quota_bytes));
    note(&mut said, "quota files", shown(quota_files));
    said.join(", ")
}
