//! The programs that the end-to-end tests drive: real FTP clients, and the tools that make and inspect
//! network namespaces. Missing ones are installed; where that is impossible, said, and the tests that
//! need them skip with the same reason (or fail, where skips do).

use std::collections::BTreeSet;

use anyhow::Result;

use super::apt::Apt;
use crate::{progress::say, workspace};

/// Program, and the Debian package that brings it.
const PROGRAMS: [(&str, &str); 13] = [
    ("curl", "curl"),
    ("lftp", "lftp"),
    ("tnftp", "tnftp"),
    ("wget", "wget"),
    ("python3", "python3"),
    ("pip3", "python3-pip"),
    ("openssl", "openssl"),
    ("ip", "iproute2"),
    ("ss", "iproute2"),
    ("nft", "nftables"),
    ("iptables", "iptables"),
    ("systemd-socket-activate", "systemd"),
    ("systemd-analyze", "systemd"),
];

/// The FTP servers that the guard is tested with, and clients that few hosts have. The tests fetch and
/// unpack them (as packages, the servers exclude each other, and would start daemons); what they need
/// beside them is installed.
const UNPACKED: [&str; 7] = [
    "vsftpd",
    "pure-ftpd",
    "proftpd-core",
    "proftpd-mod-crypto",
    "python3-pyftpdlib",
    "ncftp",
    "rclone",
];

/// Installs what is missing.
pub(crate) fn find_or_install(apt: &mut Apt) -> Result<()> {
    if apt.usable().is_ok() && UNPACKED.iter().any(|name| apt.candidate(name).is_none()) {
        apt.refresh()?;
    }
    let missing = missing(apt);
    if missing.is_empty() {
        say(
            "test tools",
            format_args!(
                "all there: {}",
                PROGRAMS.map(|(program, _)| program).join(" ")
            ),
        );
        return Ok(());
    }
    let packages: Vec<_> = missing.iter().map(String::as_str).collect();
    if let Err(reason) = apt.usable() {
        say(
            "test tools",
            format_args!(
                "missing, and their tests will be skipped: {}. {reason}; on Debian or Ubuntu type: {}",
                packages.join(" "),
                Apt::command(&packages)
            ),
        );
        return Ok(());
    }
    if packages
        .iter()
        .any(|package| apt.candidate(package).is_none())
    {
        apt.refresh()?;
    }
    apt.install(&packages)
}

/// The packages that are to be installed.
fn missing(apt: &Apt) -> BTreeSet<String> {
    let programs = PROGRAMS
        .into_iter()
        .filter(|(program, _)| workspace::find_program(program).is_none())
        .map(|(_, package)| package.to_owned());
    // pyftpdlib is for the distribution's Python, which need not be the first in PATH.
    let mut beside = apt.needed_by(&UNPACKED, |name| {
        name.starts_with("lib") || name.starts_with("python3")
    });
    for present in apt.installed(&beside) {
        beside.remove(&present);
    }
    programs.chain(beside).collect()
}
