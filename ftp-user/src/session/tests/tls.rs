//! RFC 4217: AUTH PBSZ PROT CCC, data connections inside TLS, and everything that is refused.

mod policy;

use super::{Client, Server, Wire, data, noise};
use crate::config::{Binding, Config, Tls, Use};
use crate::tls::testing;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, StreamOwned, SupportedProtocolVersion};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

type Secure = StreamOwned<ClientConnection, TcpStream>;

/// A server with a certificate; the folder holds it.
fn server(change: impl FnOnce(&mut Tls)) -> (Server, tempfile::TempDir) {
    server_with(change, |_| {})
}

fn server_with(
    change: impl FnOnce(&mut Tls),
    more: impl FnOnce(&mut Config),
) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut tls = testing::settings(folder.path());
    change(&mut tls);
    let server = Server::start_with(|config| {
        config.tls = Some(tls);
        more(config);
    });
    (server, folder)
}

fn secure(socket: TcpStream, config: &Arc<ClientConfig>) -> Secure {
    let name = ServerName::try_from("localhost").unwrap();
    let tls = ClientConnection::new(Arc::clone(config), name).unwrap();
    StreamOwned::new(tls, socket)
}

fn client_config(version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    Arc::new(testing::client(version))
}

impl Client {
    /// AUTH TLS and the handshake.
    fn auth(&mut self, config: &Arc<ClientConfig>) {
        self.expect("AUTH TLS", 234);
        self.handshake(config);
    }

    fn handshake(&mut self, config: &Arc<ClientConfig>) {
        let wire = self.control.get_mut();
        let Wire::Clear(socket) = std::mem::replace(wire, Wire::Between) else {
            panic!("inside TLS already");
        };
        *wire = Wire::Tls(Box::new(secure(socket, config)));
    }

    fn log_in(&mut self) {
        self.expect("USER alice", 331);
        self.expect("PASS secret", 230);
        self.expect("TYPE I", 200);
    }

    fn private(&mut self) {
        self.expect("PBSZ 0", 200);
        self.expect("PROT P", 200);
    }

    fn secure_data(&mut self, config: &Arc<ClientConfig>) -> Secure {
        secure(self.pasv(), config)
    }

    fn secure_retr(&mut self, path: &str, config: &Arc<ClientConfig>) -> Vec<u8> {
        let mut data = self.secure_data(config);
        self.expect(&format!("RETR {path}"), 150);
        let mut bytes = Vec::new();
        // An error without close_notify.
        data.read_to_end(&mut bytes).unwrap();
        self.expect_reply(226);
        bytes
    }

    fn secure_store(&mut self, command: &str, bytes: &[u8], config: &Arc<ClientConfig>) {
        let mut data = self.secure_data(config);
        self.expect(command, 150);
        data.conn.complete_io(&mut data.sock).unwrap();
        data.write_all(bytes).unwrap();
        data.conn.send_close_notify();
        data.flush().unwrap();
        // The server says the same.
        assert_eq!(data.read(&mut [0; 1]).unwrap(), 0);
        self.expect_reply(226);
    }
}

/// A session with PROT P.
fn alice(server: &Server, config: &Arc<ClientConfig>) -> Client {
    let mut client = server.connect();
    client.auth(config);
    client.log_in();
    client.private();
    client
}

#[test]
fn files_arrive_as_they_are_and_each_transfer_resumes() {
    for version in VERSIONS {
        let (server, _folder) = server(|_| {});
        let config = client_config(version);
        let mut client = alice(&server, &config);
        // None, one record, more than a step's buffer, and many of them.
        for size in [0, 1, 16_384, 16_385, 65_537, 300_000, 20_000_000] {
            let bytes = noise(size);
            server.put("down", &bytes);
            assert!(client.secure_retr("down", &config) == bytes, "{size}");
            client.secure_store("STOR up", &bytes, &config);
            assert!(server.get("up") == bytes, "{size}");
        }
        client.expect("REST 299990", 350);
        server.put("down", &noise(300_000));
        assert!(client.secure_retr("down", &config) == noise(300_000)[299_990..]);
        client.expect("TYPE A", 200);
        server.put("text", &b"line\n".repeat(60_000));
        let text = client.secure_retr("text", &config);
        assert!(text == b"line\r\n".repeat(60_000));
        client.secure_store("STOR back", &text, &config);
        assert!(server.get("back") == b"line\n".repeat(60_000));
        let mut listing = client.secure_data(&config);
        client.expect("NLST", 150);
        let mut names = String::new();
        listing.read_to_string(&mut names).unwrap();
        client.expect_reply(226);
        assert!(names.contains("down\r\n"), "{names}");
        client.expect("QUIT", 221);
    }
}

#[test]
fn a_data_connection_of_another_session_is_refused() {
    for version in VERSIONS {
        let (server, _folder) = server(|_| {});
        server.put("a", b"secret");
        let config = client_config(version);
        let mut client = alice(&server, &config);
        let other = client_config(version);
        let mut intruder = alice(&server, &other);
        // One that resumes nothing, twice (what its first handshake left is not resumed either),
        // and one that resumes another session.
        let nobody = client_config(version);
        for stranger in [&nobody, &nobody, &other] {
            let mut data = client.secure_data(stranger);
            client.expect("RETR a", 150);
            let mut bytes = Vec::new();
            let _ = data.read_to_end(&mut bytes);
            assert!(bytes.is_empty());
            let text = client.expect_reply(522);
            assert!(text.contains("resume"), "{text}");
        }
        assert_eq!(client.secure_retr("a", &config), b"secret");
        intruder.expect("NOOP", 200);
    }
}

#[test]
fn binding_that_is_not_required_takes_new_sessions() {
    for binding in [Binding::Prefer, Binding::Off] {
        let (server, _folder) = server(|tls| tls.session_binding = binding);
        server.put("a", b"fine");
        let mut client = alice(&server, &client_config(&TLS13));
        let fresh = client_config(&TLS13);
        assert_eq!(client.secure_retr("a", &fresh), b"fine");
        client.secure_store("STOR b", b"too", &fresh);
        assert_eq!(server.get("b"), b"too");
    }
}

#[test]
fn an_upload_without_close_notify_is_not_complete() {
    for version in VERSIONS {
        let (server, _folder) = server(|_| {});
        let config = client_config(version);
        let mut client = alice(&server, &config);
        let mut data = client.secure_data(&config);
        client.expect("STOR a", 150);
        data.write_all(&noise(100_000)).unwrap();
        data.sock.shutdown(std::net::Shutdown::Write).unwrap();
        let text = client.expect_reply(426);
        assert!(text.contains("close_notify"), "{text}");
    }
}

/// As a client ends an upload that does not wait for our close_notify.
#[test]
fn an_upload_is_complete_with_its_close_notify_whatever_comes_then() {
    for version in VERSIONS {
        let (server, _folder) = server(|_| {});
        let config = client_config(version);
        let mut client = alice(&server, &config);
        let mut data = client.secure_data(&config);
        client.expect("STOR a", 150);
        // Or the close_notify would wait for an acknowledgement, and be thrown away by the reset.
        data.sock.set_nodelay(true).unwrap();
        data.write_all(b"all of it").unwrap();
        data.conn.send_close_notify();
        data.flush().unwrap();
        rustix::net::sockopt::set_socket_linger(&data.sock, Some(std::time::Duration::ZERO))
            .unwrap();
        drop(data);
        client.expect_reply(226);
        assert_eq!(server.get("a"), b"all of it");
    }
}

/// As Go's crypto/tls uploads: what we say meanwhile is never read, and were there anything, its
/// kernel would throw away at the close what it has not yet sent.
#[test]
fn a_client_that_only_writes_loses_nothing() {
    // Its tickets are used up soon, and it never reads another.
    let (server, _folder) = server(|tls| tls.session_binding = Binding::Off);
    let config = client_config(&TLS13);
    let mut client = alice(&server, &config);
    let bytes = noise(6_000_000);
    for _ in 0..5 {
        let mut data = client.secure_data(&config);
        client.expect("STOR a", 150);
        data.write_all(&bytes).unwrap();
        data.conn.send_close_notify();
        data.flush().unwrap();
        drop(data);
        client.expect_reply(226);
        assert!(server.get("a") == bytes);
    }
}

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
fn data_connections_that_stay_clear_stay_clear() {
    let (server, _folder) = server(|tls| tls.data = Use::Off);
    server.put("a", b"clear");
    let mut client = server.connect();
    client.auth(&client_config(&TLS12));
    client.log_in();
    client.expect("PBSZ 0", 200);
    client.expect("PROT P", 534);
    assert_eq!(client.retr("a"), b"clear");
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
    // The other address has none.
    let mut clear = server.connect();
    clear.expect("AUTH TLS", 502);
    assert!(!clear.expect("FEAT", 211).contains("PROT"));
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

#[test]
fn a_transfer_inside_tls_can_be_ended_by_either_side() {
    for version in VERSIONS {
        let (server, _folder) = server(|_| {});
        server.put_large("large", 1 << 30);
        let config = client_config(version);
        let mut client = alice(&server, &config);
        let mut data = client.secure_data(&config);
        client.expect("RETR large", 150);
        data.read_exact(&mut [0; 1000]).unwrap();
        client.expect("ABOR", 426);
        client.expect_reply(226);
        // Cut short, and seen to be.
        assert!(std::io::copy(&mut data, &mut std::io::sink()).is_err());

        let mut data = client.secure_data(&config);
        client.expect("RETR large", 150);
        data.read_exact(&mut [0; 1000]).unwrap();
        drop(data);
        client.expect_reply(426);
        client.expect("NOOP", 200);
    }
}

#[test]
fn transfers_inside_tls_may_finish_at_the_end() {
    for version in VERSIONS {
        let (mut server, _folder) = server_with(
            |_| {},
            |config| config.timeouts.drain = std::time::Duration::from_secs(20),
        );
        let content = noise(5_000_000);
        server.put("a", &content);
        // Each with a memory of its own: data connections resume their own control connection's.
        let (from_config, to_config) = (client_config(version), client_config(version));
        let (mut down, mut up) = (alice(&server, &from_config), alice(&server, &to_config));
        let mut from = down.secure_data(&from_config);
        down.expect("RETR a", 150);
        let mut start = vec![0; 1000];
        from.read_exact(&mut start).unwrap();
        let mut to = up.secure_data(&to_config);
        up.expect("STOR b", 150);
        server.stop();
        from.read_to_end(&mut start).unwrap();
        assert!(start == content);
        down.expect_reply(226);
        down.expect_reply(421);
        to.write_all(&content).unwrap();
        to.conn.send_close_notify();
        to.flush().unwrap();
        // The server says the same; whoever closes before it is read resets the connection.
        assert_eq!(to.read(&mut [0; 1]).unwrap(), 0);
        up.expect_reply(226);
        up.expect_reply(421);
        server.join();
        assert!(server.get("b") == content);
    }
}
