//! Servers that are started for each connection, with it as their standard input: by inetd, and by
//! systemd's socket activation. The guard finds their control connection all the same.

use anyhow::{Context as _, Result, ensure};
use ftp_tests::{
    counters, files,
    guarded::Scene,
    lab::Family,
    need_root,
    peer::{Brand, INCOMING, Launch},
};

fn exercise(brand: Brand, launch: Launch) -> Result<()> {
    let guarded = Scene {
        launch,
        ..Scene::of(brand)
    }
    .start()?;
    let wire = guarded.lab.client_wire()?;
    let retransmits = || counters::tcp_ext(&guarded.lab.client, "TCPSynRetrans");
    let before = retransmits()?;
    for family in Family::BOTH {
        let mut session = guarded.session(family, 0)?;
        let hole = session.passive()?;
        guarded.ensure_only(family, 0, hole)?;
        let other = guarded.session(family, 1)?;
        for stranger in [1, 2] {
            guarded.ensure_shut(&wire, stranger, hole)?;
        }
        drop(other);
        let fetched = session.fetch("RETR file", hole)?;
        files::ensure_equal("the download", &fetched, &guarded.content)?;
        let name = format!("{INCOMING}/{family:?}");
        session.store(&format!("STOR {name}"), &guarded.content)?;
        files::ensure_same(&guarded.root.path().join(name), &guarded.content)?;
        ensure!(!session.listing("LIST")?.is_empty());
        session.passive()?;
        session.reset()?;
        guarded.until_no_pinhole()?;
    }
    ensure!(retransmits()? == before, "a client's SYN was sent again");
    guarded.guard.stop()
}

#[test]
fn by_inetd() -> Result<()> {
    need_root!();
    for brand in Brand::COMMON {
        exercise(brand, Launch::Inetd).context(brand.name())?;
    }
    Ok(())
}

#[test]
fn by_systemd() -> Result<()> {
    need_root!();
    for brand in Brand::COMMON {
        exercise(brand, Launch::Systemd).context(brand.name())?;
    }
    Ok(())
}
