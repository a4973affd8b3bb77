//! The host's own outbound connections, whose local ports lie inside the guarded range: the kernel
//! takes them from 32768-60999, which any generous passive range overlaps.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
};

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    control, counters, files,
    lab::{self, Family, Options},
    namespace::NetNs,
    need_root,
    site::{Site, server_end},
    wait,
};

/// What the kernel gives to outgoing connections here: all of it guarded.
const EPHEMERAL: std::ops::RangeInclusive<u16> = 33000..=49000;
const CONNECTIONS: usize = 300;

fn exercise(attach: &str) -> Result<()> {
    let site = Site::with_writer(|settings| {
        settings
            .set("enforce.attach", attach)?
            .set("passive.ports", "32768-50000")
    })?;
    // Later than the daemon's start, so that it finds a port for its internal listener.
    site.lab
        .server
        .sysctl("net/ipv4/ip_local_port_range", "33000 49000")?;
    let before = synretrans(&site)?;
    for family in Family::BOTH {
        let echo = echo(&site.lab.client, family)?;
        let message = files::noise(7, 20_000);
        for n in 0..CONNECTIONS {
            let mut stream = control::connect(&site.lab.server, server_end(family, 0).ip(), echo)?;
            let port = stream.local_addr()?.port();
            ensure!(EPHEMERAL.contains(&port), "port {port} is not in the range");
            stream.write_all(&message)?;
            if n % 2 == 0 {
                // Ours is the side that waits in TIME-WAIT; and its FIN comes before the answer.
                stream.shutdown(std::net::Shutdown::Write)?;
            }
            let mut answer = vec![0; message.len()];
            stream.read_exact(&mut answer)?;
            files::ensure_equal("the echo", &answer, &message)?;
        }
        // A FIN that were dropped would leave the other side in LAST-ACK or FIN-WAIT.
        wait::poll_within(
            wait::SOON,
            "every connection has ended at both ends",
            || {
                let left = unfinished(&site.lab.client)?;
                Ok(left.is_empty().then_some(()))
            },
        )?;

        // Active mode comes from such a port, too.
        let content = site.put("file", 1_000_000)?;
        let mut session = site.writer(family)?;
        for _ in 0..20 {
            let listener = session.listen()?;
            session.port_to(&listener)?;
            session.send(b"RETR file\r\n")?;
            let (mut data, from) = listener.accept()?;
            ensure!(EPHEMERAL.contains(&from.port()));
            let mut fetched = Vec::new();
            data.read_to_end(&mut fetched)?;
            session.expect_reply(150)?;
            session.expect_reply(226)?;
            files::ensure_equal("active download", &fetched, &content)?;
        }
        // And passive sessions go on beside all that.
        files::ensure_equal("passive download", &session.retrieve("file")?, &content)?;
    }
    let after = synretrans(&site)?;
    ensure!(
        before == after,
        "SYNs were sent again: {before:?}, {after:?}"
    );
    ensure!(
        site.count("established")? > 0,
        "nobody asked the kernel for its sockets"
    );
    Ok(())
}

fn synretrans(site: &Site) -> Result<(u64, u64)> {
    Ok((
        counters::tcp_ext(&site.lab.client, "TCPSynRetrans")?,
        counters::tcp_ext(&site.lab.server, "TCPSynRetrans")?,
    ))
}

/// A server at the client host that sends back what it gets.
fn echo(namespace: &NetNs, family: Family) -> Result<SocketAddr> {
    let address = SocketAddr::new(lab::client_address(family, 0), 0);
    let listener = namespace.run(|| TcpListener::bind(address))??;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut stream = stream;
                let mut bytes = vec![0; 1 << 16];
                // Ends with the connection, however that ends.
                while let Ok(read @ 1..) = stream.read(&mut bytes) {
                    if stream.write_all(&bytes[..read]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    Ok(address)
}

/// Connections that wait for the other side's FIN or for the acknowledgement of their own.
fn unfinished(namespace: &NetNs) -> Result<String> {
    let states = [
        "last-ack",
        "fin-wait-1",
        "fin-wait-2",
        "closing",
        "close-wait",
    ];
    let mut args = vec!["-tnH"];
    for state in states {
        args.extend(["state", state]);
    }
    let shown = namespace.tool("ss", &args, "")?;
    String::from_utf8(shown.stdout).context("ss speaks UTF-8")
}

#[test]
fn through_tcx() -> Result<()> {
    need_root!();
    exercise("tcx")
}

#[test]
fn through_native_xdp() -> Result<()> {
    need_root!();
    exercise("native")
}

#[test]
fn through_generic_xdp() -> Result<()> {
    need_root!();
    exercise("generic")
}

/// An outgoing connection from a port where a pinhole waits for somebody, and the other way round.
#[test]
fn a_pinhole_and_an_outgoing_connection_share_a_port() -> Result<()> {
    need_root!();
    let site = Site::with(Options::default(), |settings| {
        settings.set("passive.ports", "40000")
    })?;
    let content = site.put("file", 300_000)?;
    for family in Family::BOTH {
        let echo = echo(&site.lab.client, family)?;
        let mut session = site.anonymous(family, 0)?;
        let hole = session.passive()?;
        ensure!(hole.port() == 40000);
        let own = server_end(family, 40000);
        let mut stream = control::connect_from(&site.lab.server, own, echo, wait::SOON)?;
        stream.write_all(b"hello")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        ensure!(answer == *b"hello");
        files::ensure_equal("download", &session.fetch("RETR file", hole)?, &content)?;
        stream.write_all(b"again")?;
        stream.read_exact(&mut answer)?;
        ensure!(answer == *b"again");
        // No TIME-WAIT on the port: the next family wants it.
        socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO))?;
    }
    Ok(())
}
