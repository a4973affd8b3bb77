//! vsftpd's configuration.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::{Launch, Plan, Setup, Tls};
use crate::{certificate, debian};

pub(super) fn plan(setup: &Setup<'_>, folder: &Path) -> Result<Plan> {
    let program = debian::peer("vsftpd")?.program("usr/sbin/vsftpd")?;
    let empty = folder.join("empty");
    fs::create_dir(&empty).context("cannot make vsftpd's empty folder")?;
    let (first, last) = setup.passive;
    // seccomp_sandbox: its filter predates calls of today's libc and kills sessions.
    // ftp_username: `ftp` exists only where the package was installed.
    let mut text = format!(
        "background=NO\nanonymous_enable=YES\nlocal_enable=NO\nanon_root={}\nftp_username=daemon\n\
         secure_chroot_dir={}\nseccomp_sandbox=NO\nxferlog_enable=NO\n\
         write_enable=YES\nanon_upload_enable=YES\nanon_other_write_enable=YES\nanon_umask=022\n\
         pasv_min_port={first}\npasv_max_port={last}\n",
        setup.root.display(),
        empty.display(),
    );
    text += &match setup.launch {
        Launch::Standalone => {
            format!("listen=NO\nlisten_ipv6=YES\nlisten_port={}\n", setup.port)
        }
        Launch::Inetd | Launch::Systemd => "listen=NO\nlisten_ipv6=NO\n".to_owned(),
    };
    let implicit = match setup.tls {
        Tls::Off => None,
        Tls::Explicit => Some("NO"),
        Tls::Implicit => Some("YES"),
    };
    if let Some(implicit) = implicit {
        let pair = certificate::write(folder)?;
        // require_ssl_reuse: 3.0.3 does not recognize TLS 1.3's resumption.
        text += &format!(
            "ssl_enable=YES\nimplicit_ssl={implicit}\nallow_anon_ssl=YES\nssl_ciphers=HIGH\n\
             force_anon_logins_ssl=NO\nforce_anon_data_ssl=NO\nrequire_ssl_reuse=NO\n\
             rsa_cert_file={}\nrsa_private_key_file={}\n",
            pair.certificate.display(),
            pair.key.display()
        );
    }
    for line in setup.extra {
        text += &format!("{line}\n");
    }
    let config = folder.join("vsftpd.conf");
    fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
    Ok(Plan::new(program, folder).arg(config))
}
