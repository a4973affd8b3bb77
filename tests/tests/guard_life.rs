//! The guard beside its work: what it shows, and what it watches and when. Its start is in
//! `guard_start`.

use std::{
    io::{Read, Write as _},
    net::{SocketAddr, TcpListener},
};

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    control::{self, Control},
    daemon, files,
    frame::Segment,
    guarded::{Guarded, Scene, syn},
    lab::{self, Family},
    need_root,
    peer::{Brand, PASSWORD, Setup},
    site::{client_end, server_end},
    wait,
    wire::Answer,
};
use ftp_user::pinholes::inspect::Tables;

#[test]
fn what_the_guard_knows_is_shown() -> Result<()> {
    need_root!();
    let guarded = Scene::of(Brand::Vsftpd).start()?;
    let tables = Tables::of_process(guarded.guard.pid())?;
    let opened = || Ok::<_, anyhow::Error>(tables.tallies()?.context("a guard")?["opened"]);
    let before = opened()?;
    let mut session = guarded.session(Family::V4, 0)?;
    let hole = session.passive()?;
    ensure!(opened()? == before + 1);
    let listeners = tables.listeners()?.context("a guard")?;
    let client = lab::client_address(Family::V4, 0);
    ensure!(
        matches!(&listeners[..], [one] if one.port == hole.port()
            && one.client == Some(client) && one.outcome == "opened" && one.waits),
        "{listeners:?}"
    );
    let pid = guarded.guard.pid().to_string();
    let lines = [
        "control connections: 1\n".to_owned(),
        format!("{} open to {client}", hole.port()),
    ];
    // The session that has seen the guard at work may still be on its way out.
    wait::poll_within(wait::SOON, "status shows the session", || {
        let shown = daemon::pinhole(&["status", "--pid", &pid], "")?.successful()?;
        let shown = shown.transcript();
        Ok(lines.iter().all(|line| shown.contains(line)).then_some(()))
    })?;
    ensure!(session.fetch("RETR file", hole)? == guarded.content);
    wait::poll_within(wait::SOON, "nobody listens any more", || {
        Ok(tables
            .listeners()?
            .context("a guard")?
            .is_empty()
            .then_some(()))
    })
}

#[test]
fn reads_are_watched_only_while_a_server_serves_its_clients_itself() -> Result<()> {
    const SECOND_PORT: u16 = 2121;
    need_root!();
    let guarded = Scene {
        flags: &["--control-port", "2121"],
        ..Scene::of(Brand::Vsftpd)
    }
    .start()?;
    let said = |what: &'static str| guarded.guard.has_said(move |line| line.contains(what));
    let _waiting = [
        guarded.session(Family::V4, 0)?,
        guarded.session(Family::V4, 1)?,
    ];
    for _ in 0..3 {
        ensure!(guarded.session(Family::V4, 2)?.retrieve("file")? == guarded.content);
    }

    let crowd = Brand::Pyftpdlib.start(&Setup {
        port: SECOND_PORT,
        ..Setup::new(&guarded.lab.server, guarded.root.path(), (31000, 31015))
    })?;
    let session = |n| {
        let to = SocketAddr::new(lab::server_address(Family::V4), SECOND_PORT);
        let from = lab::client_address(Family::V4, n);
        let user = Brand::Pyftpdlib.user();
        Control::logged_in(&guarded.lab.client, from, to, user, PASSWORD)
    };
    let mut sessions = [session(0)?, session(1)?];
    let pid = crowd.pid().context("it has a process")?;
    let line = format!("process {pid} serves its clients itself");
    wait::until("the guard watches reads", || {
        guarded.guard.has_said(|said| said.contains(&line))
    })?;
    // vsftpd's processes have not been taken for such.
    let log = guarded.guard.log();
    ensure!(
        log.matches("serves its clients itself").count() == 1,
        "{log}"
    );

    let wire = guarded.lab.client_wire()?;
    let [first, second] = &mut sessions;
    for _ in 0..2 {
        let holes = [first.passive()?, second.passive()?];
        let rows = guarded.rows()?;
        for (n, hole) in (0..).zip(holes) {
            let client = lab::client_address(Family::V4, n);
            let exact = rows
                .iter()
                .any(|row| row.port == hole.port() && row.client == client);
            ensure!(exact, "{client} at {hole}: {rows:?}");
        }
        ensure!(
            guarded.syn(
                &wire,
                client_end(Family::V4, 1, wire.fresh_port()),
                holes[0]
            )? == Answer::Nothing
        );
        ensure!(first.fetch("RETR file", holes[0])? == guarded.content);
        ensure!(second.fetch("RETR file", holes[1])? == guarded.content);
    }
    drop(crowd);
    wait::until("reads are not watched any more", || {
        said("reads are not watched")
    })
}

#[test]
fn the_port_of_active_connections_is_the_servers_own() -> Result<()> {
    need_root!();
    let guarded = Scene {
        extra: &["connect_from_port_20=YES"],
        ..Scene::of(Brand::Vsftpd)
    }
    .start()?;
    let wire = guarded.lab.client_wire()?;
    for family in Family::BOTH {
        let mut session = guarded.session(family, 0)?;
        let listener = session.listen()?;
        session.port_to(&listener)?;
        session.send(b"RETR file\r\n")?;
        let (mut data, from) = listener.accept()?;
        ensure!(from.port() == 20, "{from}");
        session.expect_reply(150)?;
        let mut received = Vec::new();
        data.read_to_end(&mut received)?;
        files::ensure_equal("the download", &received, &guarded.content)?;
        session.expect_reply(226)?;
        let from = client_end(family, 0, wire.fresh_port());
        ensure!(guarded.syn(&wire, from, server_end(family, 20))? == Answer::Nothing);
    }
    Ok(())
}

#[test]
fn a_service_beside_a_control_port_is_left_alone() -> Result<()> {
    need_root!();
    for unresolved in ["shut", "admit-control-peers"] {
        let flags = ["--control-port", "2121", "--ports", "30000-30999"];
        let flags = [&flags[..], &["--unresolved", unresolved]].concat();
        let guarded = Scene {
            flags: &flags,
            ..Scene::of(Brand::Scripted)
        }
        .start()?;
        let wire = guarded.lab.client_wire()?;
        let to = server_end(Family::V4, 2120);
        ensure!(syn(&wire, 0, to)? == Answer::Nothing, "it was never shut");
        // A flood uses up what is told of packets, and nothing of what is told of listeners.
        let from = client_end(Family::V4, 1, wire.fresh_port());
        for _ in 0..1000 {
            wire.send(&Segment::syn(from, to))?;
        }
        // Nor does it matter what else is told of listeners.
        let _others = (30500..30600)
            .map(|port| odd_listener(&guarded, port))
            .collect::<Result<Vec<_>>>()?;
        let _service = odd_listener(&guarded, 2120)?;
        wait::poll_within(wait::SOON, "the service is reached", || {
            Ok((syn(&wire, 0, to)? == Answer::SYN_ACK).then_some(()))
        })
        .with_context(|| format!("{unresolved}: {}", guarded.guard.log()))?;
    }
    Ok(())
}

/// A listener of a process that has no control connection, on a port of the range.
fn odd_listener(guarded: &Guarded<'_>, port: u16) -> Result<TcpListener> {
    let at = server_end(Family::V4, port);
    Ok(guarded.lab.server.run(|| TcpListener::bind(at))??)
}

#[test]
fn an_odd_servers_data_ports_are_shut_unless_control_peers_are_admitted() -> Result<()> {
    need_root!();
    for admit in [false, true] {
        let mut flags = vec!["--ports", "30000-30199"];
        if admit {
            flags.extend(["--unresolved", "admit-control-peers"]);
        }
        let guarded = Scene {
            flags: &flags,
            ..Scene::of(Brand::Vsftpd)
        }
        .start()?;
        let wire = guarded.lab.client_wire()?;
        let session = guarded.session(Family::V4, 0)?;
        let listener = odd_listener(&guarded, 30150)?;
        let to = listener.local_addr()?;
        ensure!(
            syn(&wire, 1, to)? == Answer::Nothing,
            "no control connection: admitted"
        );
        let tallies = Tables::of_process(guarded.guard.pid())?.tallies()?;
        let tallies = tallies.context("a guard")?;
        if !admit {
            ensure!(tallies["no-control-connection"] == 1, "{tallies:?}");
            ensure!(syn(&wire, 0, to)? == Answer::Nothing, "admitted by default");
            continue;
        }
        ensure!(tallies["admitted-control-peers"] == 1, "{tallies:?}");
        let from = lab::client_address(Family::V4, 0);
        let mut data = control::connect(&guarded.lab.client, from, to)?;
        let (mut accepted, _) = listener.accept()?;
        data.write_all(b"x")?;
        accepted.read_exact(&mut [0])?;
        ensure!(syn(&wire, 0, to)? == Answer::Nothing, "a second connection");
        // Without its control connection it is a stranger.
        drop(session);
        wait::poll_within(wait::SOON, "the client is a stranger", || {
            let listener = odd_listener(&guarded, 30151)?;
            let answer = syn(&wire, 0, listener.local_addr()?)?;
            Ok((answer == Answer::Nothing).then_some(()))
        })?;
    }
    Ok(())
}
