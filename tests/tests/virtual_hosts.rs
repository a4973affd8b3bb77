//! Several hosts on one address: clients that look at certificates find those of the host that they
//! came for, and its files, by the name in TLS (SNI) or by HOST.

use std::{fs, path::Path};

use anyhow::{Result, ensure};
use ftp_tests::{
    certificate,
    clients::IMPLICIT_PORT,
    control::Control,
    lab::{self, Family, Options},
    need_root,
    settings::CONTROL_PORT,
    site::{self, Site},
};
use toml::{Table, Value};

const NAMES: [&str; 2] = ["one.example", "two.example"];
/// The exit status of curl where a certificate is not the one that it wants.
const UNTRUSTED: &str = "(60)";

/// A server with a certificate for "localhost", and [`NAMES`] with all of their own. Each root has a
/// file that says whose it is.
fn start(folder: &Path) -> Result<Site> {
    let table = |name: &str| -> Result<Value> {
        let root = folder.join(name);
        fs::create_dir(&root)?;
        fs::write(root.join("who"), name)?;
        let pair = certificate::write_for(folder, name)?;
        let mut table = Table::new();
        table.insert("names".to_owned(), vec![name].into());
        for (key, path) in [
            ("certificate", &pair.certificate),
            ("key", &pair.key),
            ("anonymous_root", &root),
        ] {
            table.insert(key.to_owned(), path.display().to_string().into());
        }
        Ok(table.into())
    };
    let tables: Vec<Value> = NAMES.into_iter().map(table).collect::<Result<_>>()?;
    let site = Site::with(Options::default(), |settings| {
        certificate::configure(settings, folder)?
            .set("tls.listen", vec![format!("[::]:{IMPLICIT_PORT}")])?
            .set("tls.session_binding", "require")?
            .set("host", tables)
    })?;
    fs::write(site.path("who"), "the server itself")?;
    Ok(site)
}

/// What curl fetches from `name` by way of `scheme`, if it is shown a certificate for it that it trusts.
fn fetch(site: &Site, scheme: &str, name: &str, trusted: &Path) -> Result<String> {
    let port = match scheme {
        "ftps" => IMPLICIT_PORT,
        _ => CONTROL_PORT,
    };
    let to = site::control_address(Family::V4).ip();
    let resolved = format!("{name}:{port}:{to}");
    let (trusted, url) = (
        trusted.display().to_string(),
        format!("{scheme}://{name}/who"),
    );
    let args = [
        "-q",
        "-sS",
        "--ssl-reqd",
        "--max-time",
        "50",
        "--cacert",
        &trusted,
    ];
    let args = [&args[..], &["--resolve", &resolved, &url]].concat();
    let fetched = site.lab.client.tool("curl", &args, "")?;
    Ok(String::from_utf8(fetched.stdout)?)
}

#[test]
fn each_name_has_its_certificate_and_its_files_by_sni() -> Result<()> {
    need_root!();
    let folder = tempfile::tempdir()?;
    let site = start(folder.path())?;
    let trust = |name: &str| folder.path().join(format!("{name}.pem"));
    for scheme in ["ftp", "ftps"] {
        for (name, other) in [(NAMES[0], NAMES[1]), (NAMES[1], NAMES[0])] {
            let got = fetch(&site, scheme, name, &trust(name))?;
            ensure!(got == name, "{scheme}://{name} has the files of {got}");
            let refused = format!("{:?}", fetch(&site, scheme, name, &trust(other)).err());
            ensure!(refused.contains(UNTRUSTED), "{scheme}://{name}: {refused}");
        }
        let got = fetch(&site, scheme, "localhost", &trust("cert"))?;
        ensure!(got == "the server itself", "localhost has those of {got}");
    }
    let login = "host=\"one.example\"";
    let said = |line: &str| line.contains(login);
    ensure!(site.daemon.count_said(said) == 2, "{}", site.daemon.log());
    Ok(())
}

#[test]
fn each_name_has_its_files_by_host() -> Result<()> {
    need_root!();
    let folder = tempfile::tempdir()?;
    let site = start(folder.path())?;
    for name in NAMES {
        let from = lab::client_address(Family::V4, 0);
        let to = site::control_address(Family::V4);
        let mut session = Control::open(&site.lab.client, from, to)?;
        session.expect("HOST three.example", 504)?;
        session.expect(&format!("HOST {name}"), 220)?;
        session.expect("USER ftp", 331)?;
        session.expect("PASS x", 230)?;
        session.expect("TYPE I", 200)?;
        let got = String::from_utf8(session.retrieve("who")?)?;
        ensure!(got == name, "HOST {name} has the files of {got}");
    }
    Ok(())
}
