//! FTPS with real clients: both versions of TLS, files whole both ways through pinholes that no
//! firewall could have read off the control connection, and refusals as clients see them.

use std::fs;

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    certificate,
    clients::{self, Client, Curl, Ftplib, Lftp, Login, Mode, Task, Tls, Version},
    counters, files,
    lab::Family,
    need_root,
    settings::Settings,
    site::{self, PASSWORD, Site, USER},
    wait,
};

/// More than a socket buffer holds, and no multiple of a record.
const LEN: usize = 3_000_001;

struct Scene {
    site: Site,
    local: tempfile::TempDir,
    _certificate: tempfile::TempDir,
}

impl Scene {
    /// A server where everything is required that can be.
    fn new() -> Result<Scene> {
        Scene::with(|settings| {
            settings
                .set("tls.mode", "require")?
                .set("tls.data", "require")?
                .set("tls.session_binding", "require")
        })
    }

    fn with(adjust: impl FnOnce(Settings) -> Result<Settings>) -> Result<Scene> {
        let folder = tempfile::tempdir()?;
        let site =
            Site::with_writer(|settings| adjust(certificate::configure(settings, folder.path())?))?;
        Ok(Scene {
            site,
            local: tempfile::tempdir()?,
            _certificate: folder,
        })
    }

    fn perform(&self, client: &dyn Client, login: &Login<'_>, task: &Task<'_>) -> Result<String> {
        let finished = clients::perform(&self.site.lab.client, client, login, task)?;
        Ok(finished.transcript())
    }

    /// A download, an upload and a listing.
    fn exercise(&self, client: &dyn Client, login: &Login<'_>, tag: &str) -> Result<()> {
        let content = self.site.put(&format!("{tag}.down"), LEN)?;
        let fetched = self.local.path().join(tag);
        let task = Task::Download {
            remote: &format!("{tag}.down"),
            local: &fetched,
        };
        self.perform(client, login, &task)?;
        files::ensure_same(&fetched, &content)?;
        let task = Task::Upload {
            local: &fetched,
            remote: &format!("{tag}.up"),
        };
        self.perform(client, login, &task)?;
        files::ensure_stored(&self.site.path(format!("{tag}.up")), &content)?;
        let listing = self.perform(client, login, &Task::List { folder: "." })?;
        ensure!(listing.contains(&format!("{tag}.up")), "{listing}");
        Ok(())
    }

    fn exercise_all(&self, client: &dyn Client) -> Result<()> {
        let before = counters::tcp_ext(&self.site.lab.client, "TCPSynRetrans")?;
        for (family, mode) in [
            (Family::V4, Mode::Pasv),
            (Family::V4, Mode::Epsv),
            (Family::V6, Mode::Epsv),
        ] {
            for version in Version::BOTH {
                let login = login(family, mode, version, true);
                let tag = format!("{}-{family:?}-{mode:?}-{version:?}", client.name());
                self.exercise(client, &login, &tag).context(tag)?;
            }
        }
        let after = counters::tcp_ext(&self.site.lab.client, "TCPSynRetrans")?;
        ensure!(before == after, "{} SYNs were sent again", after - before);
        Ok(())
    }
}

fn login(family: Family, mode: Mode, version: Version, resume: bool) -> Login<'static> {
    Login {
        server: site::control_address(family),
        user: USER,
        password: PASSWORD,
        mode,
        tls: Some(Tls { version, resume }),
    }
}

#[test]
fn curl() -> Result<()> {
    need_root!();
    Scene::new()?.exercise_all(&Curl)
}

#[test]
fn lftp() -> Result<()> {
    need_root!();
    Scene::new()?.exercise_all(&Lftp)
}

#[test]
fn ftplib() -> Result<()> {
    need_root!();
    Scene::new()?.exercise_all(&Ftplib)
}

#[test]
fn who_does_not_resume_is_refused_where_it_is_required_and_served_elsewhere() -> Result<()> {
    need_root!();
    for (binding, served) in [("require", false), ("prefer", true), ("off", true)] {
        let scene = Scene::with(|settings| settings.set("tls.session_binding", binding))?;
        let content = scene.site.put("file", LEN)?;
        for version in Version::BOTH {
            let login = login(Family::V4, Mode::Epsv, version, false);
            let fetched = scene.local.path().join(format!("{version:?}"));
            let task = Task::Download {
                remote: "file",
                local: &fetched,
            };
            let done = scene.perform(&Curl, &login, &task);
            if served {
                done?;
                files::ensure_same(&fetched, &content)?;
                if binding == "prefer" {
                    wait::until("the server says whose it was", || {
                        scene.site.daemon.has_said(|line| {
                            line.contains("a data connection did not resume")
                                && line.contains("session=")
                                && line.contains("client=")
                        })
                    })?;
                }
                continue;
            }
            done.err().context("it was served")?;
            // curl may be gone at the reset, before it reads the 522.
            wait::until("the server says why", || {
                let why = "ended=\"the data connection did not resume";
                scene.site.daemon.has_said(|line| line.contains(why))
            })?;
            let got = fs::metadata(&fetched).map_or(0, |file| file.len());
            ensure!(got == 0, "{got} bytes went to a stranger");
        }
    }
    Ok(())
}

#[test]
fn passwords_in_the_clear_are_refused_where_tls_is_required() -> Result<()> {
    need_root!();
    let scene = Scene::new()?;
    scene.site.put("file", 100)?;
    let fetched = scene.local.path().join("file");
    let task = Task::Download {
        remote: "file",
        local: &fetched,
    };
    let mut login = login(Family::V4, Mode::Epsv, Version::V1_3, true);
    login.tls = None;
    for client in [&Curl as &dyn Client, &Lftp, &Ftplib] {
        let refused = scene.perform(client, &login, &task);
        let said = format!("{:#}", refused.err().context("it was served")?);
        ensure!(said.contains("530 Protect the connection first"), "{said}");
        ensure!(!fetched.exists() || fs::metadata(&fetched)?.len() == 0);
    }
    Ok(())
}
