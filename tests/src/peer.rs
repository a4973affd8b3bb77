//! FTP servers that know nothing of us, as Debian builds them: what the guard is for.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use anyhow::{Context, Result};

use crate::{counters, debian, namespace::NetNs, process, settings::CONTROL_PORT, wait};

/// A running server. Dropping it kills it; its sessions go with it, or with the namespace.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Peer {
    /// vsftpd, serving `root` to anonymous sessions over IPv4 and IPv6, with the passive ports
    /// `first` to `last`.
    pub fn vsftpd(namespace: &NetNs, root: &Path, first: u16, last: u16) -> Result<Peer> {
        let unpacked = debian::unpack("vsftpd", &packages()?)?;
        let folder = tempfile::tempdir()?;
        let empty = folder.path().join("empty");
        fs::create_dir(&empty)?;
        let config = folder.path().join("vsftpd.conf");
        // seccomp_sandbox: its filter predates calls of today's libc and kills sessions.
        // ftp_username: `ftp` exists only where the package was installed.
        let text = format!(
            "listen=NO\nlisten_ipv6=YES\nlisten_port={CONTROL_PORT}\nbackground=NO\n\
             anonymous_enable=YES\nlocal_enable=NO\nanon_root={}\nftp_username=daemon\n\
             secure_chroot_dir={}\nseccomp_sandbox=NO\nxferlog_enable=NO\n\
             pasv_min_port={first}\npasv_max_port={last}\n",
            root.display(),
            empty.display()
        );
        fs::write(&config, text)?;
        let mut command = namespace.command(unpacked.root.join("usr/sbin/vsftpd"));
        command
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = process::spawn(command).context("cannot start vsftpd")?;
        let peer = Peer {
            child,
            _folder: folder,
        };
        wait::until("vsftpd listens", || {
            counters::listeners(namespace)
                .is_ok_and(|all| all.iter().any(|end| end.port() == CONTROL_PORT))
        })?;
        Ok(peer)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Nobody is left to hear of an error here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where packages are unpacked: below the build tree, once.
fn packages() -> Result<PathBuf> {
    // target/<profile>/deps/<test>
    let test = std::env::current_exe().context("cannot find this test's own file")?;
    let target = test
        .ancestors()
        .nth(3)
        .context("this test's file lies in no build tree")?;
    Ok(target.join("test-peers"))
}
