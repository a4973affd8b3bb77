//! The programs that the end-to-end tests drive: real FTP clients, and the tools that make and inspect
//! network namespaces. Missing ones are installed; where that is impossible, said, and the tests that
//! need them skip with the same reason (or fail, where skips do).

use std::process::Command;

use anyhow::Result;

use super::apt::Apt;
use crate::{progress::say, workspace};

/// Program, and the Debian package that brings it.
const PROGRAMS: [(&str, &str); 8] = [
    ("curl", "curl"),
    ("lftp", "lftp"),
    ("tnftp", "tnftp"),
    ("python3", "python3"),
    ("ip", "iproute2"),
    ("ss", "iproute2"),
    ("nft", "nftables"),
    ("iptables", "iptables"),
];

/// Libraries of the FTP servers that the guard is tested with (`ldconfig -p`), and their packages.
/// The servers themselves are fetched and unpacked by the tests, not installed.
const LIBRARIES: [(&str, &str); 1] = [("libwrap.so.0", "libwrap0")];

/// A package that the tests fetch: apt must know of it.
const FETCHED: &str = "vsftpd";

/// Installs what is missing.
pub(crate) fn find_or_install(apt: &mut Apt) -> Result<()> {
    if apt.usable().is_ok() && apt.candidate(FETCHED).is_none() {
        apt.refresh()?;
    }
    let missing = missing();
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
    let mut packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    if let Err(reason) = apt.usable() {
        let programs: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
        say(
            "test tools",
            format_args!(
                "missing: {}; their tests will be skipped. {reason}; on Debian or Ubuntu type: {}",
                programs.join(" "),
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

fn missing() -> Vec<(&'static str, &'static str)> {
    let libraries = known_libraries();
    let programs = PROGRAMS
        .into_iter()
        .filter(|(program, _)| workspace::find_program(program).is_none());
    let libraries = LIBRARIES
        .into_iter()
        .filter(|(library, _)| !libraries.contains(library));
    programs.chain(libraries).collect()
}

/// What the dynamic linker knows; nothing where it cannot be asked, so that what is needed is
/// installed.
fn known_libraries() -> String {
    // Not in the PATH of every root shell.
    Command::new("/sbin/ldconfig")
        .arg("-p")
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}
