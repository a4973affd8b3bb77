//! The servers that others write, by themselves: they must work before the guard in front of them
//! can be tested.

use anyhow::{Context as _, Result, ensure};
use ftp_tests::{
    control::Control,
    files,
    lab::{self, Family, Lab},
    need_root,
    peer::{self, Brand, INCOMING, Launch, PASSWORD, Setup},
    site::control_address,
};

fn exercise(brand: Brand, launch: Launch) -> Result<()> {
    let lab = Lab::new()?;
    let root = peer::folder()?;
    let content = files::noise(1, 100_000);
    std::fs::write(root.path().join("file"), &content)?;
    let setup = Setup {
        launch,
        ..Setup::new(&lab.server, root.path(), (30000, 30015))
    };
    let _server = brand.start(&setup)?;
    for family in Family::BOTH {
        let from = lab::client_address(family, 0);
        let to = control_address(family);
        let mut session = Control::logged_in(&lab.client, from, to, brand.user(), PASSWORD)?;
        ensure!(session.retrieve("file")? == content);
        let name = format!("{INCOMING}/{family:?}");
        session.store(&format!("STOR {name}"), &content)?;
        files::ensure_same(&root.path().join(name), &content)?;
    }
    Ok(())
}

#[test]
fn each_serves_by_itself() -> Result<()> {
    need_root!();
    for brand in Brand::COMMON.into_iter().chain([Brand::Pyftpdlib]) {
        exercise(brand, Launch::Standalone).context(brand.name())?;
    }
    Ok(())
}

#[test]
fn each_serves_what_inetd_accepts() -> Result<()> {
    need_root!();
    for brand in Brand::COMMON {
        exercise(brand, Launch::Inetd).context(brand.name())?;
    }
    Ok(())
}

#[test]
fn each_serves_what_systemd_accepts() -> Result<()> {
    need_root!();
    for brand in Brand::COMMON {
        exercise(brand, Launch::Systemd).context(brand.name())?;
    }
    Ok(())
}
