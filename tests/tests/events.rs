//! What is logged as JSON, and that no client can forge a line of it.

use std::fs;

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    control::Control,
    daemon::{self, Daemon},
    files,
    lab::{self, Family, Lab},
    need_root,
    settings::Settings,
    site::{self, PASSWORD, Site, USER},
    wait,
};

/// Each change that is no transfer, and RNFR, which is none.
const CHANGES: [(&str, u16); 10] = [
    ("MKD a b", 257),
    ("RNFR a b", 350),
    ("RNTO c", 250),
    ("RMD c", 250),
    ("SITE SYMLINK missing link", 200),
    ("DELE link", 250),
    ("COMB whole ../part", 250),
    ("SITE CHMOD 640 whole", 200),
    ("MFMT 20200101000000 whole", 213),
    ("SITE UTIME 20200101000000 whole", 200),
];

/// What is told of them.
const TOLD: [&str; 10] = [
    "MKD /d\u{1b}[31m",
    "MKD /d\u{1b}[31m/a b",
    "RNTO /d\u{1b}[31m/a b /d\u{1b}[31m/c",
    "RMD /d\u{1b}[31m/c",
    "SITE SYMLINK /d\u{1b}[31m/link missing",
    "DELE /d\u{1b}[31m/link",
    "COMB /d\u{1b}[31m/whole [\"/part\"]",
    "SITE CHMOD /d\u{1b}[31m/whole 640",
    "MFMT /d\u{1b}[31m/whole",
    "SITE UTIME /d\u{1b}[31m/whole",
];

/// The daemon's lines on standard error, one JSON object each.
fn events(daemon: &Daemon) -> Result<Vec<serde_json::Value>> {
    let log = daemon.log();
    let lines = log.lines().filter(|line| !line.is_empty());
    let parsed = lines.map(|line| serde_json::from_str(line).with_context(|| line.to_owned()));
    parsed.collect()
}

fn absent(error: std::io::Error) -> std::io::Result<()> {
    match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    }
}

#[test]
fn a_client_that_is_refused_all_the_time_fills_no_log() -> Result<()> {
    const EACH: usize = 500;
    need_root!();
    let site = Site::with(lab::Options::default(), |settings| {
        settings.set("log.format", "json")
    })?;
    let mut session = site.anonymous(Family::V4, 0)?;
    for _ in 0..EACH {
        session.expect("PORT 192,0,2,1,100,0", 504)?;
    }
    session.expect("QUIT", 221)?;
    let left_out = || {
        let events = events(&site.daemon)?;
        let told = events.iter().filter_map(|event| event["left_out"].as_u64());
        anyhow::Ok((told.sum::<u64>(), events))
    };
    let all = 2 * EACH as u64;
    let (left_out, events) = wait::poll_within(wait::SOON, "all are accounted for", || {
        let (left_out, events) = left_out()?;
        let is_refusal = |event: &&serde_json::Value| {
            event["message"] == "refused" || event["message"] == "PORT or EPRT refused"
        };
        let logged = events.iter().filter(is_refusal).count() as u64;
        Ok((left_out + logged == all).then_some((left_out, events)))
    })?;
    // There is one more each second, and it takes no minute.
    ensure!(left_out > all - 100 && events.len() < 200, "{left_out}");
    Ok(())
}

#[test]
fn json_events_have_stable_names_and_no_client_can_forge_one() -> Result<()> {
    need_root!();
    let lab = Lab::new()?;
    let (root, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    daemon::add_user(
        &folder.path().join("users.toml"),
        USER,
        PASSWORD,
        root.path(),
    )?;
    let settings = Settings::anonymous(root.path())?.users(&folder.path().join("users.toml"))?;
    let name = "a\x1b[31m\" user=\"root\" b";
    fs::write(root.path().join(name), files::noise(1, 100_000))?;
    for format in ["json", "text"] {
        let settings = settings.clone().set("log.format", format)?;
        let settings = settings.set("limits.sessions_per_address", 2)?;
        fs::remove_dir_all(root.path().join("d\x1b[31m")).or_else(absent)?;
        fs::write(root.path().join("part"), "part")?;
        let daemon = Daemon::start(&lab.server, &settings)?;
        let from = lab::client_address(Family::V4, 0);
        let server = site::control_address(Family::V4);
        let mut liar = Control::open(&lab.client, from, server)?;
        // A bare CR goes on the wire as CR NUL (RFC 854).
        liar.expect("USER x\x07\"}\r\0{\"message\":\"login\"", 331)?;
        liar.expect("PASS y", 530)?;
        let mut session = Control::logged_in(&lab.client, from, server, USER, PASSWORD)?;
        ensure!(Control::open(&lab.client, from, server).is_err());
        session.retrieve(name)?;
        session.expect("MKD", 501)?;
        session.expect("MKD d\x1b[31m", 257)?;
        session.expect("CWD d\x1b[31m", 250)?;
        for (command, reply) in CHANGES {
            session.expect(command, reply)?;
        }
        session.expect("CWD nowhere \x1b]0;title\x07", 550)?;
        session.expect("QUIT", 221)?;
        wait::until("the refusal is logged", || {
            daemon.has_said(|line| line.contains("nowhere"))
        })?;
        // Neither a terminal's orders nor a line's end came through.
        let raw = daemon.log();
        ensure!(
            !raw.bytes().any(|byte| byte < b' ' && byte != b'\n'),
            "{raw:?}"
        );
        if format == "text" {
            let forged = |line: &str| line.contains("user=\"root\" b");
            ensure!(!daemon.has_said(forged), "{raw}");
            continue;
        }
        let events = events(&daemon)?;
        let of = |message: &str| -> Result<&serde_json::Value> {
            let mut found = events.iter().filter(|event| event["message"] == message);
            let one = found
                .next()
                .with_context(|| format!("no {message}:\n{raw}"))?;
            ensure!(found.next().is_none(), "more than one {message}:\n{raw}");
            Ok(one)
        };
        let refused = of("login refused")?;
        ensure!(refused["client"] == from.to_string() && refused["level"] == "WARN");
        ensure!(
            refused["user"] == "x\u{7}\"}\r{\"message\":\"login\"",
            "{refused}"
        );
        ensure!(of("session refused")?["reason"].is_string());
        ensure!(refused["reason"].is_string());
        let login = of("login")?;
        ensure!(login["user"] == USER && login["tls"] == false, "{login}");
        let transfer = of("transfer")?;
        ensure!(transfer["session"] == login["session"], "{transfer}");
        ensure!(transfer["path"] == format!("/{name}"), "{transfer}");
        ensure!(
            transfer["bytes"] == 100_000 && transfer["reply"] == 226,
            "{transfer}"
        );
        ensure!(
            transfer["seconds"].is_f64() && transfer["verb"] == "RETR",
            "{transfer}"
        );
        let changes = events.iter().filter(|event| event["message"] == "change");
        let told = |change: &serde_json::Value| -> String {
            let text = |name: &str| change[name].as_str().map(str::to_owned);
            let names = ["verb", "path", "new_path", "mode", "points_to", "parts"];
            names
                .into_iter()
                .filter_map(text)
                .collect::<Vec<_>>()
                .join(" ")
        };
        let (told, whose): (Vec<_>, Vec<_>) = changes
            .map(|change| (told(change), (&change["session"], &change["user"])))
            .unzip();
        ensure!(told == TOLD, "{told:#?}");
        let alone = (&login["session"], &login["user"]);
        ensure!(whose.iter().all(|&whose| whose == alone), "{whose:?}");
        let refused = of("refused")?;
        ensure!(
            refused["reply"] == 550 && refused["user"] == USER,
            "{refused}"
        );
    }
    Ok(())
}
