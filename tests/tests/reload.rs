//! New settings, users and certificates without a restart, and what is refused.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    certificate,
    clients::{self, Curl, Login, Mode, Task, Tls, Version},
    control::Control,
    daemon::{self, Daemon},
    files,
    lab::{self, Family, Lab},
    need_root, process,
    settings::Settings,
    site::{self, PASSWORD, USER},
    wait,
};
use rustix::process::Signal;

/// A daemon whose files can be changed under it.
struct Scene {
    daemon: Daemon,
    lab: Lab,
    settings: Settings,
    root: tempfile::TempDir,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Result<Scene> {
        let lab = Lab::new()?;
        let (root, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
        daemon::add_user(&users(folder.path()), USER, PASSWORD, root.path())?;
        let settings = Settings::anonymous(root.path())?.users(&users(folder.path()))?;
        let settings = certificate::configure(settings, folder.path())?;
        let file = folder.path().join("pinhole.toml");
        fs::write(&file, settings.text())?;
        let mut command = lab.server.command(daemon::binary()?);
        command.arg("serve").arg("--config").arg(&file);
        let daemon = Daemon::start_command(command, tempfile::tempdir()?)?;
        Ok(Scene {
            daemon,
            lab,
            settings,
            root,
            folder,
        })
    }

    /// Writes the configuration, sends SIGHUP and waits until that reload is over.
    fn reload(&self, text: &str) -> Result<()> {
        let file = self.folder.path().join("pinhole.toml");
        fs::write(file, text)?;
        let over = |line: &str| line.ends_with("reloaded") || line.ends_with("stay as they were");
        let before = self.daemon.count_said(over);
        self.daemon.signal(Signal::HUP)?;
        wait::until("the reload is over", || {
            self.daemon.count_said(over) > before
        })
    }

    fn session(&self, user: &str, password: &str) -> Result<Control> {
        let from = lab::client_address(Family::V4, 0);
        let server = site::control_address(Family::V4);
        Control::logged_in(&self.lab.client, from, server, user, password)
    }

    fn download(&self, login: &Login<'_>) -> Result<String> {
        let local = self.folder.path().join("fetched");
        let task = Task::Download {
            remote: "file",
            local: &local,
        };
        let finished = clients::perform(&self.lab.client, &Curl, login, &task)?;
        files::ensure_same(&local, &fs::read(self.root.path().join("file"))?)?;
        Ok(finished.transcript())
    }

    /// The certificate that a client is shown, in PEM.
    fn shown_certificate(&self) -> Result<String> {
        let to = site::control_address(Family::V4).to_string();
        let args = ["s_client", "-connect", &to, "-starttls", "ftp"];
        let shown = self.lab.client.tool("openssl", &args, "QUIT\r\n")?;
        let text = shown.transcript();
        let from = text.find("-----BEGIN CERTIFICATE").context(text.clone())?;
        let to = text.find("-----END CERTIFICATE").context("no end")?;
        text.get(from..to).map(str::to_owned).context("no text")
    }
}

fn users(folder: &Path) -> PathBuf {
    folder.join("users.toml")
}

#[test]
fn sighup_takes_new_settings_users_and_certificates_and_keeps_sessions() -> Result<()> {
    need_root!();
    let scene = Scene::new()?;
    let content = files::noise(1, 3_000_000);
    fs::write(scene.root.path().join("file"), &content)?;
    let mut before = scene.session(USER, PASSWORD)?;
    // In the middle of a transfer.
    let hole = before.passive()?;
    before.send(b"RETR file\r\n")?;
    let mut data = before.data(hole)?;
    before.expect_reply(150)?;
    let first_certificate = scene.shown_certificate()?;

    daemon::add_user(
        &users(scene.folder.path()),
        "second",
        "word",
        scene.root.path(),
    )?;
    certificate::write_expired(scene.folder.path())?;
    let settings = scene
        .settings
        .clone()
        .set("greeting", "Second generation.")?;
    let settings = settings.set("enforce.attach", "generic")?;
    scene.reload(&settings.set("passive.ports", "30000-30099")?.text())?;
    for name in ["enforce.attach", "passive.ports"] {
        let wanted = format!("{name} has changed and needs a restart");
        ensure!(
            scene.daemon.has_said(|line| line.contains(&wanted)),
            "{name} is not said:\n{}",
            scene.daemon.log()
        );
    }
    let expired =
        |line: &str| line.contains("WARN") && line.contains("cert.pem: expired on 2024-02-29, ");
    ensure!(
        scene.daemon.count_said(expired) == 1,
        "{}",
        scene.daemon.log()
    );
    let mut fetched = Vec::new();
    std::io::Read::read_to_end(&mut data, &mut fetched)?;
    files::ensure_equal("the download", &fetched, &content)?;
    before.expect_reply(226)?;
    before.expect("NOOP", 200)?;
    scene.session("second", "word")?.retrieve("file")?;
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
    let good = scene
        .settings
        .clone()
        .set("greeting", "Not this one.")?
        .text();
    let file = scene.folder.path().join("pinhole.toml");
    let refused = |wanted: &str| {
        ensure!(
            scene
                .daemon
                .has_said(|line| line.contains("ERROR") && line.contains(wanted)),
            "{wanted} is not said:\n{}",
            scene.daemon.log()
        );
        let greeting = scene.session(USER, PASSWORD)?.transcript();
        ensure!(!greeting.contains("Not this one"), "{greeting}");
        Ok(())
    };
    scene.reload(&format!("greting = \"x\"\n{good}"))?;
    refused(&format!("{}:1:1: unknown field", file.display()))?;

    let right = fs::read_to_string(users(scene.folder.path()))?;
    fs::write(
        users(scene.folder.path()),
        format!("{right}\n[[user]]\nname = 7\n"),
    )?;
    scene.reload(&good)?;
    let line = right.lines().count() + 3;
    let users_file = users(scene.folder.path());
    refused(&format!("{}:{line}:8: invalid type", users_file.display()))?;
    fs::write(&users_file, &right)?;

    let key = fs::read(scene.folder.path().join("key.pem"))?;
    certificate::write(scene.folder.path())?;
    fs::write(scene.folder.path().join("key.pem"), &key)?;
    scene.reload(&good)?;
    refused("cert.pem with key ")?;

    certificate::write(scene.folder.path())?;
    scene.reload(&good)?;
    let greeting = scene.session(USER, PASSWORD)?.transcript();
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
