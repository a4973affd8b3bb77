//! What people use today: vsftpd, Pure-FTPd and ProFTPD as Debian builds them, configured as for the tests, plus
//! what a benchmark wants: anonymous sessions that may upload, and no limits.

use anyhow::{Result, ensure};
use ftp_tests::{
    debian,
    peer::{Brand, Setup, Tls},
};

use super::{Running, Server, Site};

/// A server of Debian's.
pub(crate) struct Peer {
    brand: Brand,
    version: String,
}

impl Peer {
    /// Unpacks it below the build tree; fails where there is no Debian archive or a library is missing.
    pub(crate) fn new(brand: Brand) -> Result<Self> {
        let packages: &[(&str, Option<&str>)] = match brand {
            Brand::Vsftpd => &[("vsftpd", Some("usr/sbin/vsftpd"))],
            Brand::PureFtpd => &[("pure-ftpd", Some("usr/sbin/pure-ftpd"))],
            Brand::ProFtpd => &[
                ("proftpd-core", Some("usr/sbin/proftpd")),
                ("proftpd-mod-crypto", None),
            ],
            Brand::Pyftpdlib | Brand::Scripted => &[],
        };
        let mut version = None;
        for (package, program) in packages {
            let unpacked = debian::peer(package)?;
            if let Some(program) = program {
                unpacked.program(program)?;
            }
            version.get_or_insert(unpacked.version);
        }
        ensure!(
            version.is_some(),
            "{} comes in no package of Debian's that is measured here",
            brand.name()
        );
        Ok(Self {
            brand,
            version: version.unwrap_or_default(),
        })
    }

    fn extra(&self, site: &Site<'_>) -> Vec<String> {
        let root = site.root.display();
        let lines: Vec<String> = match self.brand {
            Brand::Vsftpd => vec!["max_clients=0".into(), "max_per_ip=0".into()],
            // The account `ftp` of anonymous sessions is the sandbox's.
            Brand::PureFtpd => [
                "--anonymousonly",
                "--limitrecursion",
                "200000:5",
                "--maxclientsnumber",
                "20000",
            ]
            .map(str::to_owned)
            .into(),
            // It knows no account but that of its own file.
            Brand::ProFtpd => vec![format!(
                "<Anonymous {root}>\nUser {user}\nUserAlias anonymous {user}\nRequireValidShell off\n\
                 AnonRequirePassword off\nAllowOverwrite on\nMaxClients none\n</Anonymous>",
                user = ftp_tests::peer::USER
            )],
            Brand::Pyftpdlib | Brand::Scripted => Vec::new(),
        };
        lines
    }
}

impl Server for Peer {
    fn name(&self) -> &str {
        self.brand.name()
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn start(&self, site: &Site<'_>) -> Result<Running> {
        let extra = self.extra(site);
        let extra: Vec<&str> = extra.iter().map(String::as_str).collect();
        let peer = self.brand.start(&Setup {
            port: site.listen.port(),
            tls: match site.tls {
                Some(_) => Tls::Explicit,
                None => Tls::Off,
            },
            extra: &extra,
            ..Setup::new(site.namespace, site.root, site.passive_ports)
        })?;
        Running::of_peer(peer)
    }
}
