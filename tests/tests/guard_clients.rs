//! The guard in front of each server that hosts run, with real clients: every kind of data
//! connection, in the clear and inside TLS, none the slower for the guard.

use std::{fs, path::Path, thread};

use anyhow::{Context, Result, anyhow, ensure};
use ftp_tests::{
    clients::{self, Client, Curl, Ftplib, Lftp, Login, Mode, Task, Tls, Version},
    counters, files,
    guarded::{Guarded, Scene},
    lab::Family,
    need_root,
    peer::{self, Brand, INCOMING, PASSWORD},
    wait,
};

/// Port 20 is where servers connect out from in active mode: what comes back passes, all else is
/// dropped.
const FLAGS: &[&str] = &["--ports", "20,30000-30063"];

const CLIENTS: [&dyn Client; 3] = [&Curl, &Lftp, &Ftplib];

fn exercise(brand: Brand, security: peer::Tls, versions: &[Option<Version>]) -> Result<()> {
    let guarded = Scene {
        tls: security,
        flags: FLAGS,
        ..Scene::of(brand)
    }
    .start()?;
    let local = tempfile::tempdir()?;
    let hosts = [&guarded.lab.client, &guarded.lab.server];
    let retransmits = || hosts.map(|host| counters::tcp_ext(host, "TCPSynRetrans").ok());
    let before = retransmits();
    let (guarded, local) = (&guarded, local.path());
    let passive = thread::scope(|scope| {
        let threads = CLIENTS.map(|client| {
            scope.spawn(move || {
                drive(guarded, brand, client, versions, local).context(client.name())
            })
        });
        let mut passive = 0;
        for thread in threads {
            passive += thread.join().map_err(|_| anyhow!("a client panicked"))??;
        }
        anyhow::Ok(passive)
    })?;
    let after = retransmits();
    ensure!(
        before == after,
        "SYNs were sent again by client or server: {before:?}, then {after:?}"
    );
    guarded.until_no_pinhole()?;
    let admitted = guarded.count("pinhole-syn")?;
    ensure!(
        admitted >= passive,
        "{passive} passive transfers, {admitted} by a pinhole"
    );
    for reason in ["closed", "wrong-client", "claimed", "expired"] {
        let count = guarded.count(reason)?;
        ensure!(count == 0, "{count} SYNs of clients were dropped: {reason}");
    }
    Ok(())
}

/// Everything that one client can do, and how many of its data connections were passive.
fn drive(
    guarded: &Guarded<'_>,
    brand: Brand,
    client: &dyn Client,
    versions: &[Option<Version>],
    local: &Path,
) -> Result<u64> {
    let mut passive = 0;
    for family in Family::BOTH {
        for mode in Mode::ALL {
            for version in versions {
                // curl 7.87 and 7.88 begin no TLS on a connection that they have accepted, and
                // hang, guard or not (curl's issue 10666).
                let hangs = client.name() == "curl" && mode.is_active() && version.is_some();
                // The guard reads none of it: one mode is enough to see both versions.
                let repeats = *version == Some(Version::V1_3) && mode != Mode::Epsv;
                if hangs || repeats || !client.speaks(mode, family) {
                    continue;
                }
                let login = Login {
                    server: guarded.control(family),
                    user: brand.user(),
                    password: PASSWORD,
                    mode,
                    tls: version.map(|version| Tls {
                        version,
                        resume: true,
                    }),
                };
                let tag = format!("{}-{family:?}-{mode:?}-{version:?}", client.name());
                exchange(guarded, client, &login, &tag, local).context(tag)?;
                passive += if mode.is_active() { 0 } else { 2 };
            }
        }
    }
    Ok(passive)
}

/// A download, a listing and, but for TLS 1.3, an upload.
fn exchange(
    guarded: &Guarded<'_>,
    client: &dyn Client,
    login: &Login<'_>,
    tag: &str,
    local: &Path,
) -> Result<()> {
    let perform = |task| clients::perform(&guarded.lab.client, client, login, &task);
    let fetched = local.join(tag);
    perform(Task::Download {
        remote: "file",
        local: &fetched,
    })?;
    files::ensure_same(&fetched, &guarded.content)?;
    let listing = perform(Task::List { folder: "." })?.transcript();
    ensure!(listing.contains(INCOMING), "{listing}");
    if let Some(Tls {
        version: Version::V1_3,
        ..
    }) = login.tls
    {
        // A client that closes an upload and has not read the tickets that TLS 1.3 brings after
        // the handshake resets the connection (RFC 1122, section 4.2.2.13). Whether the server
        // has read everything by then is chance.
        return Ok(());
    }
    let name = format!("{INCOMING}/{tag}");
    perform(Task::Upload {
        local: &fetched,
        remote: &name,
    })?;
    let stored = guarded.root.path().join(&name);
    // A client may be gone before the server has written the last byte.
    wait::until("the upload is as long as it should be", || {
        fs::metadata(&stored).is_ok_and(|file| file.len() == guarded.content.len() as u64)
    })?;
    files::ensure_same(&stored, &guarded.content)
}

const TLS: &[Option<Version>] = &[Some(Version::V1_2), Some(Version::V1_3)];
/// In the clear, too.
const ALL: &[Option<Version>] = &[None, Some(Version::V1_2), Some(Version::V1_3)];

#[test]
fn vsftpd() -> Result<()> {
    need_root!();
    exercise(Brand::Vsftpd, peer::Tls::Explicit, ALL)
}

#[test]
fn vsftpd_implicit_tls() -> Result<()> {
    need_root!();
    exercise(Brand::Vsftpd, peer::Tls::Implicit, TLS)
}

#[test]
fn pure_ftpd() -> Result<()> {
    need_root!();
    exercise(Brand::PureFtpd, peer::Tls::Explicit, ALL)
}

#[test]
fn proftpd() -> Result<()> {
    need_root!();
    exercise(Brand::ProFtpd, peer::Tls::Explicit, ALL)
}

#[test]
fn proftpd_implicit_tls() -> Result<()> {
    need_root!();
    exercise(Brand::ProFtpd, peer::Tls::Implicit, TLS)
}
