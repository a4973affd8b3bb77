//! ProFTPD's configuration and its file of users.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::{Context, Result};

use super::{Launch, PASSWORD_HASH, Plan, Setup, Tls, USER};
use crate::{certificate, debian};

pub(super) fn plan(setup: &Setup<'_>, folder: &Path) -> Result<Plan> {
    let program = debian::peer("proftpd-core")?.program("usr/sbin/proftpd")?;
    let users = folder.join("users");
    let line = format!(
        "{USER}:{PASSWORD_HASH}:1:1::{}:/bin/false\n",
        setup.root.display()
    );
    fs::write(&users, line).with_context(|| format!("cannot write {}", users.display()))?;
    // It refuses a file of passwords that others may read.
    fs::set_permissions(&users, Permissions::from_mode(0o600))?;
    let (first, last) = setup.passive;
    let (users, state) = (users.display(), folder.display());
    let port = setup.port;
    let kind = match setup.launch {
        Launch::Standalone => "standalone",
        Launch::Inetd | Launch::Systemd => "inetd",
    };
    // UseFtpUsers: /etc/ftpusers belongs to the host. DelayEngine: it makes logins equally slow.
    let mut text = format!(
        "ServerType {kind}\nPort {port}\nServerName peer\nDefaultAddress 127.0.0.1\nUseIPv6 on\n\
         DefaultServer on\nUser daemon\nGroup daemon\nMaxInstances none\n\
         AuthOrder mod_auth_file.c\nAuthUserFile {users}\nAuthPAM off\nUseFtpUsers off\n\
         RequireValidShell off\nDefaultRoot ~\nAllowOverwrite on\nAllowStoreRestart on\n\
         UseReverseDNS off\nWtmpLog off\nTransferLog none\nDelayEngine off\nControlsEngine off\n\
         SystemLog {state}/system.log\nScoreboardFile {state}/scoreboard\nPidFile {state}/pid\n\
         PassivePorts {first} {last}\n"
    );
    let options = match setup.tls {
        Tls::Off => None,
        Tls::Explicit => Some("NoSessionReuseRequired"),
        Tls::Implicit => Some("NoSessionReuseRequired UseImplicitSSL"),
    };
    if let Some(options) = options {
        let pair = certificate::write(folder)?;
        let modules = debian::peer("proftpd-mod-crypto")?.root;
        text += &format!(
            "ModulePath {}/usr/lib/proftpd\nLoadModule mod_tls.c\nTLSEngine on\nTLSRequired off\n\
             TLSVerifyClient off\nTLSECCertificateFile {}\nTLSECCertificateKeyFile {}\n\
             TLSLog {state}/tls.log\nTLSOptions {options}\n",
            modules.display(),
            pair.certificate.display(),
            pair.key.display()
        );
    }
    for line in setup.extra {
        text += &format!("{line}\n");
    }
    let config = folder.join("proftpd.conf");
    fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
    let plan = Plan::new(program, folder);
    Ok(match setup.launch {
        Launch::Standalone => plan.args(["--nodaemon", "--config"]).arg(config),
        Launch::Inetd | Launch::Systemd => plan.arg("--config").arg(config),
    })
}
