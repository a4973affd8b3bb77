//! Real FTP clients, driven alike: what a client is asked to do is a [`Task`], how each one is told
//! so is in its own file. A run counts only if the client used the data connection it was told to.

mod curl;
mod ftplib;
mod lftp;
mod tnftp;

use std::{fmt, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};

pub use self::{curl::Curl, ftplib::Ftplib, lftp::Lftp, tnftp::Tnftp};
use crate::{
    lab::Family,
    namespace::NetNs,
    process::{self, Finished},
};

/// Every client there is a driver for.
pub const ALL: [&dyn Client; 4] = [&Curl, &Lftp, &Tnftp, &Ftplib];

/// Where TLS begins with the first byte of a control connection (IANA: `ftps`).
pub const IMPLICIT_PORT: u16 = 990;

const LIMIT: Duration = Duration::from_secs(60);

/// How the data connection is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The client connects to the address of a 227.
    Pasv,
    /// The client connects to the port of a 229.
    Epsv,
    /// The server connects to the address of a PORT.
    Port,
    /// The server connects to the address of an EPRT.
    Eprt,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Mode; 4] = [Mode::Pasv, Mode::Epsv, Mode::Port, Mode::Eprt];

    /// The command that asks for it.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Pasv => "PASV",
            Mode::Epsv => "EPSV",
            Mode::Port => "PORT",
            Mode::Eprt => "EPRT",
        }
    }

    /// Whether the server makes the connection.
    pub fn is_active(self) -> bool {
        matches!(self, Mode::Port | Mode::Eprt)
    }

    /// PASV and PORT cannot name an IPv6 address.
    pub fn can_carry(self, family: Family) -> bool {
        match self {
            Mode::Pasv | Mode::Port => family == Family::V4,
            Mode::Epsv | Mode::Eprt => true,
        }
    }
}

/// What a client is to do. Remote names are relative to where it logs in.
#[derive(Clone, Copy, Debug)]
pub enum Task<'a> {
    /// Fetch `remote` into the new file `local`.
    Download {
        /// Name at the server.
        remote: &'a str,
        /// File to make.
        local: &'a Path,
    },
    /// Fetch what `local` lacks of `remote`.
    ResumeDownload {
        /// Name at the server.
        remote: &'a str,
        /// File that holds the beginning.
        local: &'a Path,
    },
    /// Store `local` as `remote`.
    Upload {
        /// File to send.
        local: &'a Path,
        /// Name at the server.
        remote: &'a str,
    },
    /// Store what `remote`, which holds the first `held` bytes, lacks of `local`.
    ResumeUpload {
        /// File to send.
        local: &'a Path,
        /// Name at the server.
        remote: &'a str,
        /// Bytes that the server has.
        held: u64,
    },
    /// Show the folder.
    List {
        /// Name at the server.
        folder: &'a str,
    },
}

/// TLS on control and data connection: after AUTH TLS, or from the first byte where the server's
/// port is [`IMPLICIT_PORT`].
#[derive(Clone, Copy, Debug)]
pub struct Tls {
    /// The only version the client offers.
    pub version: Version,
    /// Whether data connections resume the control connection's TLS session.
    pub resume: bool,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// TLS 1.2
    V1_2,
    /// TLS 1.3
    V1_3,
}

impl Version {
    /// Both.
    pub const BOTH: [Version; 2] = [Version::V1_2, Version::V1_3];

    fn number(self) -> &'static str {
        match self {
            Version::V1_2 => "1.2",
            Version::V1_3 => "1.3",
        }
    }
}

/// Where to, as whom, by which kind of data connection.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// Control address.
    pub server: SocketAddr,
    /// User name.
    pub user: &'a str,
    /// Password.
    pub password: &'a str,
    /// Data connection.
    pub mode: Mode,
    /// TLS, if the client is to use it; tnftp has none.
    pub tls: Option<Tls>,
}

impl Login<'_> {
    fn host(&self) -> String {
        self.server.ip().to_string()
    }

    /// Whether TLS begins with the first byte: at the port that is assigned to that.
    fn is_implicit(&self) -> bool {
        self.tls.is_some() && self.server.port() == IMPLICIT_PORT
    }

    /// The server as an URL without path.
    fn url(&self) -> String {
        let scheme = if self.is_implicit() { "ftps" } else { "ftp" };
        format!("{scheme}://{}", self.server)
    }
}

/// A program to run, and what to type into it.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    args: Vec<String>,
    input: String,
}

/// A real client.
pub trait Client: Sync {
    /// The program.
    fn program(&self) -> &'static str;

    /// What people call it.
    fn name(&self) -> &'static str {
        self.program()
    }

    /// Whether it can be made to use `mode` over `family`.
    fn speaks(&self, mode: Mode, family: Family) -> bool;

    /// How it is told to do `task`; it must show the commands it sends.
    fn invocation(&self, login: &Login<'_>, task: &Task<'_>) -> Invocation;

    /// How its transcript shows a command, up to the command's first word.
    fn prompt(&self) -> &'static str;
}

impl fmt::Debug for dyn Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Has `client` do `task` from `namespace`. An error unless it succeeds by its own account, and
/// asked for the data connection by the login's mode and by no other.
pub fn perform(
    namespace: &NetNs,
    client: &dyn Client,
    login: &Login<'_>,
    task: &Task<'_>,
) -> Result<Finished> {
    let invocation = client.invocation(login, task);
    let mut command = namespace.command(client.program());
    command
        .args(&invocation.args)
        // No user's settings, no language but the program's own, no proxy.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env("LC_ALL", "C.UTF-8")
        .env("TERM", "dumb")
        .current_dir("/");
    let what = || format!("{} {} {task:?}", client.name(), login.mode.word());
    let finished = process::run(command, invocation.input.as_bytes(), LIMIT)
        .and_then(Finished::successful)
        .with_context(what)?;
    let transcript = finished.transcript();
    for mode in Mode::ALL {
        let sent = transcript.contains(&format!("{}{}", client.prompt(), mode.word()));
        ensure!(
            sent == (mode == login.mode),
            "{}: {} {}:\n{transcript}",
            what(),
            mode.word(),
            if sent { "was sent" } else { "was not sent" }
        );
    }
    Ok(finished)
}
