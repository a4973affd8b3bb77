//! Pure-FTPd's flags and its database of users.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use super::{Launch, PASSWORD_HASH, Plan, Setup, Tls, USER};
use crate::{certificate, debian, process, wait};

pub(super) fn plan(setup: &Setup<'_>, folder: &Path) -> Result<Plan> {
    let unpacked = debian::peer("pure-ftpd")?;
    let program = unpacked.program("usr/sbin/pure-ftpd")?;
    let users = folder.join("users");
    let database = folder.join("users.pdb");
    // Name, hash, user and group (`daemon`), comment, folder (/./: its root), and twelve limits.
    let line = format!(
        "{USER}:{PASSWORD_HASH}:1:1::{}/./::::::::::::\n",
        setup.root.display()
    );
    fs::write(&users, line).with_context(|| format!("cannot write {}", users.display()))?;
    let mut make = Command::new(unpacked.program("usr/bin/pure-pw")?);
    make.arg("mkdb").arg(&database).arg("-f").arg(&users);
    process::run(make, b"", wait::SOON)?.successful()?;

    let (first, last) = setup.passive;
    // It keeps a list of its sessions in /run/pure-ftpd: here, in a /run of its own.
    let mut plan = Plan::new("unshare".into(), folder)
        .args(["--mount", "--", "sh", "-c"])
        .arg("mount -t tmpfs peer /run && exec \"$0\" \"$@\"")
        .arg(program)
        .arg("--login")
        .arg(format!("puredb:{}", database.display()))
        .args(["--noanonymous", "--dontresolve", "--chrooteveryone"])
        // `daemon` is below what it takes for a person; 50 sessions are its default.
        .args(["--minuid", "1", "--maxclientsnumber", "1000"])
        .arg("--passiveportrange")
        .arg(format!("{first}:{last}"))
        .arg("--pidfile")
        .arg(folder.join("pid"));
    match setup.tls {
        Tls::Off => {}
        Tls::Explicit => {
            let pair = certificate::write(folder)?;
            plan = plan.args(["--tls", "1", "--certfile"]).arg(format!(
                "{},{}",
                pair.certificate.display(),
                pair.key.display()
            ));
        }
        Tls::Implicit => bail!("Pure-FTPd has no implicit TLS"),
    }
    match setup.launch {
        Launch::Standalone => plan = plan.arg("--bind").arg(format!(",{}", setup.port)),
        Launch::Inetd | Launch::Systemd => {}
    }
    Ok(plan.args(setup.extra))
}
