//! pyftpdlib's benchmark, in the clear. Under TLS it ends its uploads without close_notify, which is a
//! 426 here (docs/ARCHITECTURE.md, TLS), and it gives up at the first.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ftp_tests::{
    lab::Family,
    need_root,
    process::{self, Finished},
    pypi,
    site::{self, PASSWORD, Site, USER},
    skip,
};

/// Its four transfers take a second each.
const LIMIT: Duration = Duration::from_secs(60);

/// What each line of its table begins with, and whether the figure is a rate; the others are seconds,
/// which may round to none.
const TABLE: [(&str, bool); 8] = [
    ("STOR (client -> server)", true),
    ("RETR (server -> client)", true),
    ("20 concurrent clients (connect, login)", false),
    ("STOR (1 file with 20 idle clients)", true),
    ("RETR (1 file with 20 idle clients)", true),
    ("20 concurrent clients (RETR 1.0M file)", false),
    ("20 concurrent clients (STOR 1.0M file)", false),
    ("20 concurrent clients (QUIT)", false),
];

#[test]
fn every_benchmark_of_ftpbench_completes() -> Result<()> {
    need_root!();
    let bench = match pypi::ftpbench()? {
        Ok(bench) => bench,
        Err(reason) => skip!("{reason}"),
    };
    // Its uploads last a second each, however fast: so that they do not fill the disk.
    let site =
        Site::with_writer(|settings| settings.set("limits.account.session_upload_rate", "100MiB"))?;
    let server = site::control_address(Family::V4);
    let mut command = site.lab.client.command("python3");
    command
        .arg(&bench.script)
        .args(["-b", "all", "-n", "20", "-s", "1M", "-t", "30"])
        .args(["-u", USER, "-p", PASSWORD])
        .args([
            "-H",
            &server.ip().to_string(),
            "-P",
            &server.port().to_string(),
        ])
        .env("PYTHONPATH", &bench.library);
    let said = process::run(command, b"", LIMIT)
        .and_then(Finished::successful)?
        .transcript();
    for (what, rate) in TABLE {
        let line = said.lines().find_map(|line| line.strip_prefix(what));
        let figure: f64 = line
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .with_context(|| format!("no figure for {what}:\n{said}"))?;
        ensure!(figure > 0.0 || !rate, "nothing moved, {what}:\n{said}");
    }
    ensure!(
        std::fs::read_dir(site.root.path())?.next().is_none(),
        "its file is still there:\n{said}"
    );
    Ok(())
}
