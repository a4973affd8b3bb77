//! PORT and EPRT: which addresses are taken, and where the server connects from.

use std::{
    io::Read,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use anyhow::{Context, Result, ensure};
use ftp_tests::{
    control, files,
    lab::{self, Family, Lab, Options, THIRD4},
    need_root,
    site::Site,
};

#[test]
fn active_addresses() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    site.put("file", 10)?;
    let mut v4 = site.anonymous(Family::V4, 0)?;
    v4.ensure_codes(&[
        (b"PORT", 501),
        (b"PORT 10,77,0,2,200", 501),
        (b"PORT 10,77,0,2,200,0,0", 501),
        (b"PORT 256,77,0,2,200,0", 501),
        (b"PORT 10,77,0,256,200,0", 501),
        (b"PORT 10,77,0,2,256,0", 501),
        (b"PORT 10,77,0,2,200,256", 501),
        (b"PORT 10,77,0,2,-1,0", 501),
        (b"PORT 10,77,0,2,+1,0", 501),
        (b"PORT 10,77,0,2,99999999999999999999,0", 501),
        (b"PORT 10.77.0.2.200.0", 501),
        (b"PORT fd77::2,200,0", 501),
        // Somebody else: another host, the server itself, loopback, everybody. RFC 2577.
        (b"PORT 10,77,0,3,200,0", 504),
        (b"PORT 10,77,0,1,200,0", 504),
        (b"PORT 127,0,0,1,200,0", 504),
        (b"PORT 0,0,0,0,200,0", 504),
        (b"PORT 255,255,255,255,200,0", 504),
        // Somebody else's service.
        (b"PORT 10,77,0,2,0,25", 504),
        (b"PORT 10,77,0,2,3,255", 504),
        (b"PORT 10,77,0,2,0,0", 504),
        (b"PORT 10,77,0,2,4,0", 200),
        (b"EPRT |1|10.77.0.2|51200|", 200),
        (b"EPRT |1|::ffff:10.77.0.2|51200|", 501),
        (b"EPRT |2|fd77::2|51200|", 522),
        (b"EPRT |2|10.77.0.2|51200|", 501),
        (b"EPRT |3|10.77.0.2|51200|", 522),
        (b"EPRT |1|10.77.0.3|51200|", 504),
        (b"EPRT |1|10.77.0.2|1023|", 504),
        (b"EPRT |1|10.77.0.2|65536|", 501),
        (b"EPRT |1|10.77.0.256|51200|", 501),
        (b"EPRT |1|10.77.0.2|51200", 501),
        (b"EPRT 10.77.0.2", 501),
        (b"EPRT ||||", 501),
        (b"EPRT |", 501),
        (b"EPRT", 501),
        (b"EPSV 2", 522),
        (b"EPSV 3", 522),
        (b"EPSV x", 501),
        (b"PASV x", 501),
    ])?;
    let mut v6 = site.anonymous(Family::V6, 0)?;
    v6.ensure_codes(&[
        (b"PORT 10,77,0,2,200,0", 522),
        (b"PASV", 425),
        (b"EPRT |1|10.77.0.2|51200|", 522),
        (b"EPRT |2|fd77::3|51200|", 504),
        (b"EPRT |2|::1|51200|", 504),
        (b"EPRT |2|::ffff:10.77.0.2|51200|", 522),
        (b"EPRT |2|fd77::2|80|", 504),
        (b"EPRT |2|fd77::2%c0|51200|", 501),
        (b"EPRT |2|fd77::2|51200|", 200),
        (b"EPSV 1", 522),
        (b"EPSV 2", 229),
        (b"ABOR", 226),
    ])?;
    // RFC 2428, section 4: after EPSV ALL no other way.
    v4.ensure_codes(&[
        (b"EPSV ALL", 200),
        (b"PASV", 503),
        (b"PORT 10,77,0,2,200,0", 503),
        (b"EPRT |1|10.77.0.2|51200|", 503),
        (b"EPSV", 229),
        (b"ABOR", 226),
    ])
}

/// A refused address is not connected to, and an earlier one that was good still counts.
#[test]
fn a_refused_port_connects_nobody() -> Result<()> {
    need_root!();
    let site = Site::new()?;
    let content = site.put("file", 1000)?;
    let other = lab::client_address(Family::V4, 1);
    let victim = SocketAddr::new(other, 0);
    let victim = site.lab.client.run(|| TcpListener::bind(victim))??;
    victim.set_nonblocking(true)?;
    let mut session = site.anonymous(Family::V4, 0)?;
    let SocketAddr::V4(address) = victim.local_addr()? else {
        anyhow::bail!("an IPv4 listener has an IPv6 address");
    };
    let port = control::port_argument(*address.ip(), address.port());
    session.expect(&format!("PORT {port}"), 504)?;
    session.expect("RETR file", 425)?;
    let own = session.listen()?;
    session.port_to(&own)?;
    session.expect(&format!("PORT {port}"), 504)?;
    session.send(b"RETR file\r\n")?;
    let (mut data, _) = own.accept()?;
    let mut fetched = Vec::new();
    Read::read_to_end(&mut data, &mut fetched)?;
    files::ensure_equal("by the earlier PORT", &fetched, &content)?;
    let connected = victim.accept();
    ensure!(
        connected.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock),
        "somebody else was connected to"
    );
    Ok(())
}

/// Where RFC 959 has active connections come from, if the administrator wants it so.
#[test]
fn active_connections_come_from_port_20_when_configured() -> Result<()> {
    need_root!();
    for from_port_20 in [true, false] {
        let site = Site::with(Options::default(), |settings| {
            settings.set("active.from_port_20", from_port_20)
        })?;
        let content = site.put("file", 100_000)?;
        for family in Family::BOTH {
            let mut session = site.anonymous(family, 0)?;
            // More than once: port 20 is in TIME-WAIT then.
            for _ in 0..5 {
                let listener = session.listen()?;
                session.port_to(&listener)?;
                session.send(b"RETR file\r\n")?;
                let (mut data, from) = listener.accept()?;
                ensure!((from.port() == 20) == from_port_20, "it comes from {from}");
                let mut fetched = Vec::new();
                data.read_to_end(&mut fetched)?;
                session.expect_reply(150)?;
                session.expect_reply(226)?;
                files::ensure_equal("file", &fetched, &content)?;
            }
        }
    }
    Ok(())
}

/// RFC 959, section 3.2: from port 20 to the port that the control connection comes from.
#[test]
fn without_port_the_default_data_port_is_used_if_configured() -> Result<()> {
    need_root!();
    for configured in [true, false] {
        let site = Site::with(Options::default(), |settings| {
            settings.set("active.default_port", configured)
        })?;
        let content = site.put("file", 100_000)?;
        for family in Family::BOTH {
            let mut session = site.anonymous(family, 0)?;
            if configured {
                let listener = session.listen_at_control_port()?;
                session.send(b"RETR file\r\n")?;
                let (mut data, from) = listener.accept()?;
                ensure!(from.port() == 20, "it comes from {from}");
                let mut fetched = Vec::new();
                data.read_to_end(&mut fetched)?;
                session.expect_reply(150)?;
                session.expect_reply(226)?;
                files::ensure_equal("file", &fetched, &content)?;
                // Nothing but EPSV from now on.
                session.expect("EPSV ALL", 200)?;
            }
            session.expect("RETR file", 425)?;
        }
    }
    Ok(())
}

#[test]
fn fxp_goes_where_the_account_may_send() -> Result<()> {
    need_root!();
    let lab = Lab::with(Options {
        third: true,
        ..Options::default()
    })?;
    let site = Site::with_account_in(lab, &["--fxp", "10.78.0.0/24"], Ok)?;
    let content = site.put("file", 100_000)?;
    let third = site.lab.third.as_ref().context("no third host")?;
    let listener = third.run(|| TcpListener::bind((THIRD4, 0)))??;
    let port = listener.local_addr()?.port();
    let mut session = site.writer(Family::V4)?;
    let elsewhere = control::port_argument(Ipv4Addr::new(10, 79, 0, 2), port);
    session.expect(&format!("PORT {elsewhere}"), 504)?;
    session.expect(
        &format!("PORT {}", control::port_argument(THIRD4, 443)),
        504,
    )?;
    session.expect(
        &format!("PORT {}", control::port_argument(THIRD4, port)),
        200,
    )?;
    session.expect("RETR file", 150)?;
    let (mut data, from) = listener.accept()?;
    let mut bytes = Vec::new();
    data.read_to_end(&mut bytes)?;
    session.expect_reply(226)?;
    ensure!(
        from.ip() == lab::server_address(Family::V4),
        "it came from {from}"
    );
    files::ensure_equal("what the other server got", &bytes, &content)?;
    // Those who were given nothing stay with their own address.
    let mut anonymous = site.anonymous(Family::V4, 0)?;
    anonymous.expect(
        &format!("PORT {}", control::port_argument(THIRD4, port)),
        504,
    )?;
    Ok(())
}
