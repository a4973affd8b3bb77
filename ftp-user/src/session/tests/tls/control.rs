//! AUTH, PBSZ, PROT, CCC and implicit TLS on the control connection, and who is sent away.

use super::super::{Client, Wire, data};
use super::{VERSIONS, alice, client_config, secure, server, server_with};
use crate::config::Use;
use crate::tls::testing;
use rustls::version::{TLS12, TLS13};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

#[test]
fn commands_in_the_clear_behind_auth_are_not_heard() {
    let (server, _folder) = server(|_| {});
    let config = client_config(&TLS13);
    let mut client = server.connect();
    client.send(b"AUTH TLS\r\nUSER alice\r\nPASS secret\r\nNO");
    client.expect_reply(234);
    client.handshake(&config);
    // Were they heard, their replies would come first.
    client.expect("PWD", 530);
    client.expect("NOOP", 200);
}

#[test]
fn a_login_before_auth_is_forgotten() {
    let (server, _folder) = server(|_| {});
    let mut client = server.alice();
    client.auth(&client_config(&TLS12));
    client.expect("PWD", 530);
    client.log_in();
    client.expect("AUTH TLS", 503);
    client.expect("PWD", 257);
    client.private();
    client.expect("REIN", 220);
    client.expect("PROT P", 503);
    client.log_in();
}

#[test]
fn the_order_and_the_levels_are_those_of_the_rfc() {
    let (server, _folder) = server(|_| {});
    let mut client = server.connect();
    for (command, code) in [
        ("AUTH SSL", 504),
        ("AUTH TLS-P", 504),
        ("PBSZ 0", 503),
        ("PROT P", 503),
        ("CCC", 530),
    ] {
        client.expect(command, code);
    }
    let features = client.expect("FEAT", 211);
    assert!(features.contains("\r\n AUTH TLS\r\n CCC\r\n PBSZ\r\n PROT\r\n"));
    client.expect("AUTH TLS-C", 234);
    client.handshake(&client_config(&TLS13));
    client.log_in();
    for (command, code) in [
        ("PROT P", 503),
        ("PBSZ 16384", 200),
        ("PROT S", 536),
        ("PROT E", 536),
        ("PROT Q", 504),
        ("PROT P", 200),
        ("PROT C", 200),
    ] {
        client.expect(command, code);
    }
    server.put("a", b"clear");
    assert_eq!(client.retr("a"), b"clear");
}

#[test]
fn what_is_required_is_required() {
    let (server, _folder) = server(|tls| {
        tls.mode = Use::Require;
        tls.data = Use::Require;
    });
    let config = client_config(&TLS13);
    let mut client = server.connect();
    client.expect("USER alice", 530);
    client.expect("PASS secret", 503);
    client.auth(&config);
    client.log_in();
    assert!(!client.expect("FEAT", 211).contains("CCC"));
    client.expect("CCC", 534);
    server.put("a", b"private");
    let port = client.pasv_port();
    client.expect("RETR a", 521);
    client.expect("LIST", 521);
    client.expect("PBSZ 0", 200);
    client.expect("PROT C", 534);
    client.expect("PROT P", 200);
    let socket = data(SocketAddr::new(client.server(), port));
    client.expect("RETR a", 150);
    let mut data = secure(socket, &config);
    let mut bytes = Vec::new();
    data.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"private");
    client.expect_reply(226);
}

#[test]
fn ccc_goes_back_to_the_clear_and_leaves_data_private() {
    for version in VERSIONS {
        for answers in [true, false] {
            let (server, _folder) = server(|_| {});
            server.put("a", b"private");
            let config = client_config(version);
            let mut client = alice(&server, &config);
            // Clients that take a ticket once need another, which comes with a transfer.
            assert_eq!(client.secure_retr("a", &config), b"private");
            client.expect("CCC", 200);
            let wire = client.control.get_mut();
            let Wire::Tls(mut tls) = std::mem::replace(wire, Wire::Between) else {
                unreachable!()
            };
            assert_eq!(tls.read(&mut [0; 1]).unwrap(), 0);
            if answers {
                // In one piece with the next command.
                tls.conn.send_close_notify();
                let mut bytes = Vec::new();
                tls.conn.write_tls(&mut bytes).unwrap();
                bytes.extend_from_slice(b"NOOP\r\n");
                tls.sock.write_all(&bytes).unwrap();
            } else {
                tls.sock.write_all(b"NOOP\r\n").unwrap();
            }
            *client.control.get_mut() = Wire::Clear(tls.sock);
            client.expect_reply(200);
            client.expect("PWD", 257);
            client.expect("CCC", 503);
            assert_eq!(client.secure_retr("a", &config), b"private");
        }
    }
}

#[test]
fn implicit_tls_greets_inside_tls() {
    let (server, _folder) = server(|tls| {
        tls.listen = vec!["127.0.0.1:0".parse().unwrap()];
        tls.mode = Use::Off;
    });
    server.put("a", b"private");
    let config = client_config(&TLS13);
    let socket = data(server.second.unwrap());
    let mut client = Client::over(Wire::Tls(Box::new(secure(socket, &config))));
    client.expect_reply(220);
    client.log_in();
    client.expect("AUTH TLS", 502);
    client.expect("CCC", 534);
    assert!(
        client
            .expect("FEAT", 211)
            .contains("\r\n PBSZ\r\n PROT\r\n")
    );
    assert_eq!(client.secure_retr("a", &config), b"private");
    client.expect("REIN", 220);
    client.log_in();
    assert_eq!(client.secure_retr("a", &config), b"private");
    // The other address has none.
    let mut clear = server.connect();
    clear.expect("AUTH TLS", 502);
    assert!(!clear.expect("FEAT", 211).contains("PROT"));
}

#[test]
fn nothing_is_said_in_the_clear_where_tls_comes_first() {
    let (server, _folder) = server_with(
        |tls| tls.listen = vec!["127.0.0.1:0".parse().unwrap()],
        |config| config.limits.sessions_per_address = 1,
    );
    let _first = server.connect();
    let mut said = Vec::new();
    data(server.address).read_to_end(&mut said).unwrap();
    assert!(said.starts_with(b"421 "));
    said.clear();
    let mut implicit = data(server.second.unwrap());
    implicit.read_to_end(&mut said).unwrap();
    assert_eq!(said, b"");
}

#[test]
fn another_protocol_is_sent_away() {
    let (server, _folder) = server(|_| {});
    for (offered, served) in [(&b"http/1.1"[..], false), (b"ftp", true)] {
        let mut config = testing::client(&TLS13);
        config.alpn_protocols = vec![offered.to_vec()];
        let mut client = server.connect();
        client.auth(&Arc::new(config));
        let wire = client.control.get_mut();
        let answered = wire
            .write_all(b"NOOP\r\n")
            .and_then(|()| wire.read(&mut [0; 1]));
        match (served, answered) {
            (true, Ok(1)) => {}
            (false, Err(error)) => assert!(
                error.to_string().contains("NoApplicationProtocol"),
                "{error}"
            ),
            (_, answered) => panic!("{answered:?}"),
        }
    }
    let mut client = server.connect();
    let request = "GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: b\r\nAccept: c\r\nOrigin: d\r\n\
                   Referer: e\r\nCookie: f\r\nConnection: g\r\n\r\n<script>\r\n";
    client.send(request.as_bytes());
    for _ in 0..7 {
        client.expect_reply(500);
    }
    client.expect_reply(421);
    assert!(client.is_closed());
}

#[test]
fn a_client_of_a_ca_has_to_show_itself() {
    let folder = tempfile::tempdir().unwrap();
    let ca = testing::Ca::new(folder.path());
    let (server, _certificate) = server(|tls| tls.client_ca = Some(ca.path.clone()));
    server.put("a", b"known");
    for version in VERSIONS {
        let config = Arc::new(ca.client(version));
        let mut client = alice(&server, &config);
        assert_eq!(client.secure_retr("a", &config), b"known");
        let mut unknown = server.connect();
        unknown.auth(&client_config(version));
        let wire = unknown.control.get_mut();
        let answered = wire
            .write_all(b"NOOP\r\n")
            .and_then(|()| wire.read(&mut [0; 1]));
        assert!(answered.is_err(), "{answered:?}");
    }
}

#[test]
fn a_handshake_that_never_comes_is_not_waited_for_forever() {
    let (server, _folder) = server_with(
        |_| {},
        |config| config.timeouts.login = std::time::Duration::from_millis(200),
    );
    let mut client = server.connect();
    client.expect("AUTH TLS", 234);
    match client.control.read(&mut [0; 1]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("{other:?}"),
    }
}
