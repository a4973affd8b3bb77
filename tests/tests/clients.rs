//! Real clients do what their users do, over every kind of data connection they can be made to
//! use: files arrive whole both ways, listings show what is there, broken transfers go on.

use std::fs;

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    clients::{self, Client, Curl, Ftplib, Lftp, Login, Mode, Task, Tnftp},
    counters, files,
    lab::Family,
    need_root,
    site::{self, PASSWORD, Site, USER},
};

/// More than a socket buffer holds, and no multiple of any block size.
const LEN: usize = 3_000_001;
/// Where broken transfers broke: inside a block.
const BROKE_AT: usize = 1_234_567;

/// A server, and a folder at the client's end.
struct Scene {
    site: Site,
    local: tempfile::TempDir,
}

impl Scene {
    fn new() -> Result<Scene> {
        Ok(Scene {
            site: Site::with_writer(Ok)?,
            local: tempfile::tempdir()?,
        })
    }

    fn login(family: Family, mode: Mode) -> Login<'static> {
        Login {
            server: site::control_address(family),
            user: USER,
            password: PASSWORD,
            mode,
            tls: None,
        }
    }

    fn perform(&self, client: &dyn Client, login: &Login<'_>, task: &Task<'_>) -> Result<String> {
        let finished = clients::perform(&self.site.lab.client, client, login, task)?;
        Ok(finished.transcript())
    }

    /// Every task over one kind of data connection.
    fn exercise(&self, client: &dyn Client, family: Family, mode: Mode) -> Result<()> {
        let login = Scene::login(family, mode);
        let tag = format!("{}-{family:?}-{}", client.name(), mode.word());
        let content = files::noise(tag.bytes().map(u64::from).sum(), LEN);
        let (remote, local) = (self.site.root.path(), self.local.path());

        let down = format!("{tag}.down");
        fs::write(remote.join(&down), &content)?;
        let fetched = local.join(&down);
        let task = Task::Download {
            remote: &down,
            local: &fetched,
        };
        self.perform(client, &login, &task)?;
        files::ensure_same(&fetched, &content)?;

        let broken = local.join(format!("{tag}.broken"));
        fs::write(&broken, &content[..BROKE_AT])?;
        let task = Task::ResumeDownload {
            remote: &down,
            local: &broken,
        };
        let said = self.perform(client, &login, &task)?;
        files::ensure_same(&broken, &content)?;
        ensure!(said.contains(&format!("REST {BROKE_AT}")), "{said}");

        let up = format!("{tag}.up");
        let task = Task::Upload {
            local: &fetched,
            remote: &up,
        };
        self.perform(client, &login, &task)?;
        files::ensure_stored(&remote.join(&up), &content)?;

        let half = format!("{tag}.half");
        fs::write(remote.join(&half), &content[..BROKE_AT])?;
        let task = Task::ResumeUpload {
            local: &fetched,
            remote: &half,
            held: BROKE_AT as u64,
        };
        let said = self.perform(client, &login, &task)?;
        files::ensure_stored(&remote.join(&half), &content)?;
        ensure!(
            said.contains(&format!("REST {BROKE_AT}")) || said.contains("APPE "),
            "the upload was not resumed:\n{said}"
        );

        let folder = format!("{tag}.folder");
        fs::create_dir(remote.join(&folder))?;
        let names = ["plain", "with space", "ümlaut"];
        for name in names {
            fs::write(remote.join(&folder).join(name), name)?;
        }
        let listing = self.perform(client, &login, &Task::List { folder: &folder })?;
        for name in names {
            ensure!(
                listing.contains(name),
                "no {name} in the listing:\n{listing}"
            );
        }
        Ok(())
    }

    fn exercise_all(&self, client: &dyn Client) -> Result<()> {
        let before = counters::tcp_ext(&self.site.lab.client, "TCPSynRetrans")?;
        let mut exercised = 0;
        for family in Family::BOTH {
            for mode in Mode::ALL {
                if client.speaks(mode, family) {
                    self.exercise(client, family, mode)
                        .with_context(|| format!("{} {mode:?} {family:?}", client.name()))?;
                    exercised += 1;
                }
            }
        }
        ensure!(exercised >= 4, "{} does next to nothing", client.name());
        let after = counters::tcp_ext(&self.site.lab.client, "TCPSynRetrans")?;
        ensure!(before == after, "{} SYNs were sent again", after - before);
        Ok(())
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
fn tnftp() -> Result<()> {
    need_root!();
    Scene::new()?.exercise_all(&Tnftp)
}

#[test]
fn ftplib() -> Result<()> {
    need_root!();
    Scene::new()?.exercise_all(&Ftplib)
}
