//! New settings, users and certificates without a restart, and what is refused.

use std::fs;

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    certificate,
    clients::{self, Curl, Login, Mode, Task, Tls, Version},
    control::Control,
    daemon, files,
    lab::{self, Family, Lab},
    need_root, process,
    settings::Settings,
    site::{self, PASSWORD, Site, USER},
    wait,
};

/// A site with TLS, and where its certificate lies.
struct Scene {
    site: Site,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Result<Scene> {
        let folder = tempfile::tempdir()?;
        let site = Site::with_writer(|settings| certificate::configure(settings, folder.path()))?;
        Ok(Scene { site, folder })
    }

    fn download(&self, login: &Login<'_>) -> Result<String> {
        let local = self.folder.path().join("fetched");
        let task = Task::Download {
            remote: "file",
            local: &local,
        };
        let finished = clients::perform(&self.site.lab.client, &Curl, login, &task)?;
        files::ensure_same(&local, &fs::read(self.site.path("file"))?)?;
        Ok(finished.transcript())
    }

    /// The certificate that a client is shown, in PEM.
    fn shown_certificate(&self) -> Result<String> {
        let to = site::control_address(Family::V4).to_string();
        let args = ["s_client", "-connect", &to, "-starttls", "ftp"];
        let shown = self.site.lab.client.tool("openssl", &args, "QUIT\r\n")?;
        let text = shown.transcript();
        let from = text.find("-----BEGIN CERTIFICATE").context(text.clone())?;
        let to = text.find("-----END CERTIFICATE").context("no end")?;
        text.get(from..to).map(str::to_owned).context("no text")
    }
}

#[test]
fn sighup_takes_new_settings_users_and_certificates_and_keeps_sessions() -> Result<()> {
    need_root!();
    let scene = Scene::new()?;
    let site = &scene.site;
    let content = site.put("file", 3_000_000)?;
    let mut before = site.writer(Family::V4)?;
    // In the middle of a transfer.
    let hole = before.passive()?;
    before.send(b"RETR file\r\n")?;
    let mut data = before.data(hole)?;
    before.expect_reply(150)?;
    let first_certificate = scene.shown_certificate()?;

    daemon::add_user(&site.file("users.toml"), "second", "word", site.root.path())?;
    certificate::write_expired(scene.folder.path())?;
    let settings = site.settings.clone();
    let settings = settings.set("greeting", "Second generation.")?;
    let settings = settings.set("enforce.attach", "generic")?;
    site.reload(&settings.set("passive.ports", "30000-30099")?.text())?;
    for name in ["enforce.attach", "passive.ports"] {
        let wanted = format!("{name} has changed and needs a restart");
        ensure!(
            site.daemon.has_said(|line| line.contains(&wanted)),
            "{name} is not said:\n{}",
            site.daemon.log()
        );
    }
    let expired =
        |line: &str| line.contains("WARN") && line.contains("cert.pem: expired on 2024-02-29, ");
    ensure!(
        site.daemon.count_said(expired) == 1,
        "{}",
        site.daemon.log()
    );
    let mut fetched = Vec::new();
    std::io::Read::read_to_end(&mut data, &mut fetched)?;
    files::ensure_equal("the download", &fetched, &content)?;
    before.expect_reply(226)?;
    before.expect("NOOP", 200)?;
    let (from, to) = (
        lab::client_address(Family::V4, 0),
        site::control_address(Family::V4),
    );
    Control::logged_in(&site.lab.client, from, to, "second", "word")?.retrieve("file")?;
    ensure!(scene.shown_certificate()? != first_certificate);
    let login = Login {
        server: site::control_address(Family::V4),
        user: USER,
        password: PASSWORD,
        mode: Mode::Epsv,
        tls: Some(Tls {
            version: Version::V1_3,
            resume: true,
        }),
    };
    let said = scene.download(&login)?;
    ensure!(said.contains("220 Second generation."), "{said}");
    Ok(())
}

#[test]
fn what_cannot_be_used_is_refused_with_its_line_and_changes_nothing() -> Result<()> {
    need_root!();
    let scene = Scene::new()?;
    let site = &scene.site;
    let good = site.settings.clone();
    let good = good.set("greeting", "Not this one.")?.text();
    let file = site.file("pinhole.toml");
    let refused = |wanted: &str| {
        ensure!(
            site.daemon
                .has_said(|line| line.contains("ERROR") && line.contains(wanted)),
            "{wanted} is not said:\n{}",
            site.daemon.log()
        );
        let greeting = site.writer(Family::V4)?.transcript();
        ensure!(!greeting.contains("Not this one"), "{greeting}");
        Ok(())
    };
    site.reload(&format!("greting = \"x\"\n{good}"))?;
    refused(&format!("{}:1:1: unknown field", file.display()))?;

    let users = site.file("users.toml");
    let right = fs::read_to_string(&users)?;
    fs::write(&users, format!("{right}\n[[user]]\nname = 7\n"))?;
    site.reload(&good)?;
    let line = right.lines().count() + 3;
    refused(&format!("{}:{line}:8: invalid type", users.display()))?;
    fs::write(&users, &right)?;

    let key = fs::read(scene.folder.path().join("key.pem"))?;
    certificate::write(scene.folder.path())?;
    fs::write(scene.folder.path().join("key.pem"), &key)?;
    site.reload(&good)?;
    refused("cert.pem with key ")?;

    certificate::write(scene.folder.path())?;
    site.reload(&good)?;
    let greeting = site.writer(Family::V4)?.transcript();
    ensure!(greeting.contains("Not this one"), "{greeting}");
    Ok(())
}

#[test]
fn a_bad_certificate_is_found_before_anything_is_attached() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    let folder = tempfile::tempdir()?;
    let settings = certificate::configure(Settings::anonymous(folder.path())?, folder.path())?;
    fs::write(folder.path().join("key.pem"), "no key")?;
    let file = folder.path().join("pinhole.toml");
    fs::write(&file, settings.text())?;
    let mut command = lab.server.command(daemon::binary()?);
    command.arg("serve").arg("--config").arg(&file);
    let said = process::run(command, b"", wait::SOON)?.transcript();
    ensure!(said.contains("key.pem"), "{said}");
    ensure!(
        !said.contains("locked") && !said.contains("listening"),
        "{said}"
    );
    Ok(())
}
