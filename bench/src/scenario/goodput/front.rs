//! What stands in front of the server, or that nothing does.

use std::path::Path;

use anyhow::Result;
use ftp_tests::lab::Lab;

use super::super::lock::{ESTABLISHED, iptables};
use crate::server::{PASSIVE_PORTS, Running};

#[derive(Clone, Copy)]
pub(super) enum Front {
    Open,
    Conntrack,
    Helper,
    Guard,
    Own,
}

pub(super) const FRONTS: [Front; 5] = [
    Front::Open,
    Front::Conntrack,
    Front::Helper,
    Front::Guard,
    Front::Own,
];

impl Front {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Open => "vsftpd, range open",
            Self::Conntrack => "vsftpd, range open + conntrack",
            Self::Helper => "vsftpd, conntrack helper",
            Self::Guard => "pinhole guard, vsftpd",
            Self::Own => "pinhole serve",
        }
    }

    /// Puts it in front of the server; what is returned must live as long as it is to hold.
    pub(super) fn apply(self, program: &Path, lab: &Lab) -> Result<Option<Running>> {
        let server = &lab.server;
        let (first, last) = PASSIVE_PORTS;
        match self {
            Self::Open | Self::Own => {}
            Self::Conntrack => {
                iptables(server, ESTABLISHED)?;
                iptables(server, "-A INPUT -p tcp --dport 21 -j ACCEPT")?;
                iptables(
                    server,
                    &format!("-A INPUT -p tcp --dport {first}:{last} -j ACCEPT"),
                )?;
                iptables(server, "-A INPUT -p tcp -j DROP")?;
            }
            Self::Helper => {
                iptables(
                    server,
                    "-t raw -A PREROUTING -p tcp --dport 21 -j CT --helper ftp",
                )?;
                iptables(server, ESTABLISHED)?;
                iptables(server, "-A INPUT -p tcp --dport 21 -j ACCEPT")?;
                iptables(server, "-A INPUT -p tcp -j DROP")?;
            }
            Self::Guard => {
                let mut command = server.command(program);
                command.args([
                    "guard",
                    "--interface",
                    "s0",
                    "--attach",
                    "native",
                    "--ports",
                ]);
                command.arg(format!("{first}-{last}"));
                let guard = Running::start_saying(command, "ready", tempfile::tempdir()?)?;
                return Ok(Some(guard));
            }
        }
        Ok(None)
    }
}
