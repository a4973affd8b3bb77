//! vsftpd, as Debian builds it, set up for the same anonymous sessions and nothing that would slow it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{PASSIVE_PORTS, Running, Server, Site};
use ftp_tests::debian;

/// An unpacked vsftpd.
pub(crate) struct Vsftpd {
    program: PathBuf,
    version: String,
}

impl Vsftpd {
    /// Unpacks it below `folder`; fails where there is no Debian archive or a library is missing.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let unpacked = debian::unpack("vsftpd", folder)?;
        let program = unpacked.root.join("usr/sbin/vsftpd");
        let libraries = Command::new("ldd")
            .arg(&program)
            .output()
            .context("cannot start ldd")?;
        let libraries = String::from_utf8_lossy(&libraries.stdout);
        let missing: Vec<&str> = libraries
            .lines()
            .filter(|line| line.contains("not found"))
            .map(str::trim)
            .collect();
        ensure!(
            missing.is_empty(),
            "vsftpd misses libraries ({}); type: apt-get install -y libwrap0 libpam0g libssl3 libcap2",
            missing.join(", ")
        );
        Ok(Self {
            program,
            version: unpacked.version,
        })
    }
}

impl Server for Vsftpd {
    fn name(&self) -> &str {
        "vsftpd"
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn start(&self, site: &Site<'_>) -> Result<Running> {
        let folder = tempfile::tempdir()?;
        let empty = folder.path().join("empty");
        fs::create_dir(&empty).context("cannot make vsftpd's empty folder")?;
        let (first, last) = PASSIVE_PORTS;
        let config = folder.path().join("vsftpd.conf");
        // seccomp_sandbox: 3.0.3's filter predates calls of today's libc and kills sessions.
        // ftp_username: `ftp` exists only where the package was installed; its home must exist.
        let text = format!(
            "listen=YES\nlisten_ipv6=NO\nlisten_address={}\nlisten_port={}\nbackground=NO\n\
             anonymous_enable=YES\nlocal_enable=NO\nno_anon_password=NO\nanon_root={}\nftp_username=daemon\n\
             secure_chroot_dir={}\nseccomp_sandbox=NO\nxferlog_enable=NO\nuse_sendfile=YES\n\
             pasv_min_port={first}\npasv_max_port={last}\n",
            site.listen.ip(),
            site.listen.port(),
            site.root.display(),
            empty.display()
        );
        fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
        let mut command = site.namespace.command(&self.program);
        command.arg(&config);
        Running::start(command, site, folder)
    }
}
