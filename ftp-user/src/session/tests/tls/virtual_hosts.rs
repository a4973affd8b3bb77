//! RFC 7151 HOST and the name in TLS: whose greeting, whose anonymous root, whose certificate.

use super::super::{Client, Server, Wire, data};
use super::{Secure, VERSIONS, client_config, server_with};
use crate::config::{Binding, Config, VirtualHost};
use crate::tls::testing;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::version::TLS13;
use rustls::{ClientConnection, StreamOwned, SupportedProtocolVersion};
use std::io::{Read, Write};
use std::net::TcpStream;

/// Names no host in the handshake: RFC 6066 section 3 has none for addresses.
const NOBODY: &str = "127.0.0.1";

struct Hosts {
    server: Server,
    folder: tempfile::TempDir,
    _certificate: tempfile::TempDir,
}

impl Hosts {
    /// "plain.example" is the server's own name; "a.example" and "b.example" have all of their own,
    /// "c.example" only a root.
    fn start(change: impl FnOnce(&mut Config)) -> Hosts {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let host = |names: &[&str]| VirtualHost {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            ..VirtualHost::default()
        };
        let own = |name: &str, alias: &str| {
            let root = path.join(name);
            std::fs::create_dir(&root).unwrap();
            std::fs::write(root.join("who"), name).unwrap();
            VirtualHost {
                greeting: Some(format!("This is {name}.")),
                certificate: Some(testing::certificate(path, name)),
                anonymous_root: Some(root),
                ..host(&[name, alias])
            }
        };
        let (a, b) = (own("a.example", "WWW.a.example"), own("b.example", "b2"));
        let mut c = own("c.example", "c2");
        (c.greeting, c.certificate) = (None, None);
        let (server, certificate) = server_with(
            |tls| {
                tls.session_binding = Binding::Off;
                tls.listen = vec!["127.0.0.1:0".parse().unwrap()];
            },
            |config| {
                config.hosts = vec![host(&["plain.example"]), a, b, c];
                change(config);
            },
        );
        server.put("who", b"server");
        std::fs::copy(
            certificate.path().join("localhost.pem"),
            path.join("server.pem"),
        )
        .unwrap();
        Hosts {
            server,
            folder,
            _certificate: certificate,
        }
    }

    fn certificate(&self, of: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.folder.path().join(format!("{of}.pem"))).unwrap()
    }

    /// A client that has said HOST, if it is to, and after AUTH TLS another name in its handshake.
    fn client(&self, host: &str, name: &str, version: &'static SupportedProtocolVersion) -> Client {
        let mut client = self.server.connect();
        if !host.is_empty() {
            client.expect(&format!("HOST {host}"), 220);
        }
        client.expect("AUTH TLS", 234);
        let Wire::Clear(socket) = std::mem::replace(client.control.get_mut(), Wire::Between) else {
            unreachable!()
        };
        *client.control.get_mut() = Wire::Tls(Box::new(named(socket, name, version)));
        client
    }
}

fn named(socket: TcpStream, name: &str, version: &'static SupportedProtocolVersion) -> Secure {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let tls = ClientConnection::new(client_config(version), name).unwrap();
    StreamOwned::new(tls, socket)
}

fn shown(tls: &Secure) -> CertificateDer<'static> {
    tls.conn.peer_certificates().unwrap()[0]
        .clone()
        .into_owned()
}

impl Client {
    fn shown(&self) -> CertificateDer<'static> {
        let Wire::Tls(tls) = self.control.get_ref() else {
            unreachable!()
        };
        shown(tls)
    }

    fn log_in_anonymously(&mut self) {
        self.expect("USER ftp", 331);
        self.expect("PASS x", 230);
        self.expect("TYPE I", 200);
    }

    /// Whose root it is in.
    fn who(&mut self) -> String {
        self.log_in_anonymously();
        String::from_utf8(self.retr("who")).unwrap()
    }
}

#[test]
fn host_chooses_greeting_and_anonymous_root() {
    let hosts = Hosts::start(|_| {});
    let mut client = hosts.server.connect();
    let own = "220 Pinhole ready.\r\n";
    for (name, greeting, root) in [
        ("A.EXAMPLE", "220 This is a.example.\r\n", "a.example"),
        ("www.a.example", "220 This is a.example.\r\n", "a.example"),
        ("c.example", own, "c.example"),
        ("plain.example", own, "server"),
        ("127.0.0.1", own, "server"),
    ] {
        // What an earlier one did is over, and a wrong one does nothing.
        client.expect("HOST b.example", 220);
        assert_eq!(client.expect(&format!("HOST {name}"), 220), greeting);
        client.expect("HOST d.example", 504);
        assert_eq!(client.who(), root, "{name}");
        client.expect("HOST b.example", 503);
        client.expect("REIN", 220);
        assert_eq!(client.who(), "server", "REIN ends what HOST did");
        client.expect("REIN", 220);
    }
    client.expect("HOST a.example", 220);
    client.log_in();
    assert_eq!(
        client.retr("who"),
        b"server",
        "users are the same everywhere"
    );
}

#[test]
fn a_name_in_tls_chooses_all_of_a_host_and_counts_more_than_host() {
    let hosts = Hosts::start(|_| {});
    for version in VERSIONS {
        for (host, name, certificate, root) in [
            ("", NOBODY, "server", "server"),
            ("", "A.example", "a.example", "a.example"),
            ("", "www.a.example", "a.example", "a.example"),
            ("", "c.example", "server", "c.example"),
            ("", "plain.example", "server", "server"),
            ("", "elsewhere.example", "server", "server"),
            ("a.example", NOBODY, "a.example", "a.example"),
            ("a.example", "elsewhere.example", "a.example", "a.example"),
            ("a.example", "b.example", "b.example", "b.example"),
            ("a.example", "plain.example", "server", "server"),
            ("c.example", NOBODY, "server", "c.example"),
        ] {
            let mut client = hosts.client(host, name, version);
            client.log_in_anonymously();
            let case = format!("{version:?}, HOST {host:?}, {name} in TLS");
            assert!(client.shown() == hosts.certificate(certificate), "{case}");
            // A data connection that names nobody is the session's; else as the control connection.
            client.private();
            for (named_there, certificate) in [(NOBODY, certificate), ("b.example", "b.example")] {
                let mut data = named(client.pasv(), named_there, version);
                client.expect("RETR who", 150);
                let mut content = String::new();
                data.read_to_string(&mut content).unwrap();
                client.expect_reply(226);
                assert_eq!(content, root, "{case}");
                let is_right = shown(&data) == hosts.certificate(certificate);
                assert!(is_right, "{case}, {named_there} on the data connection");
            }
        }
    }
}

#[test]
fn implicit_tls_greets_as_the_host_that_is_named() {
    let hosts = Hosts::start(|_| {});
    for (name, greeting) in [
        (NOBODY, "220 Pinhole ready.\r\n"),
        ("b.example", "220 This is b.example.\r\n"),
    ] {
        let socket = data(hosts.server.second.unwrap());
        let mut client = Client::over(Wire::Tls(Box::new(named(socket, name, &TLS13))));
        assert_eq!(client.expect_reply(220), greeting);
    }
}

#[test]
fn host_does_not_leave_the_host_of_the_handshake() {
    let hosts = Hosts::start(|_| {});
    let mut client = hosts.client("", "a.example", &TLS13);
    client.expect("HOST b.example", 504);
    client.expect("HOST plain.example", 504);
    client.expect("HOST www.a.example", 220);
    assert_eq!(client.who(), "a.example");
    client.expect("REIN", 220);
    client.expect("HOST b.example", 504);
    assert_eq!(client.who(), "a.example");
    // A client that has named none there still may.
    for name in [NOBODY, "elsewhere.example"] {
        let mut client = hosts.client("", name, &TLS13);
        client.expect("HOST b.example", 220);
        assert_eq!(client.who(), "b.example");
    }
}

#[test]
fn a_name_that_no_certificate_is_for_is_refused_where_that_is_checked() {
    let check = |config: &mut Config| config.tls.as_mut().unwrap().check_server_name = true;
    let hosts = Hosts::start(check);
    for (name, served) in [
        (NOBODY, true),
        ("localhost", true),
        ("a.example", true),
        // Its own certificate has not this one, and the server's not those.
        ("www.a.example", false),
        ("c.example", false),
        ("elsewhere.example", false),
    ] {
        let mut client = hosts.client("", name, &TLS13);
        let wire = client.control.get_mut();
        let answered = wire
            .write_all(b"NOOP\r\n")
            .and_then(|()| wire.read(&mut [0; 1]));
        assert_eq!(answered.is_ok(), served, "{name}: {answered:?}");
    }
}

#[test]
fn a_reload_changes_hosts_and_their_certificates() {
    let hosts = Hosts::start(|_| {});
    let mut half = hosts.server.connect();
    half.expect("HOST b.example", 220);
    let renewed = tempfile::tempdir().unwrap();
    hosts.server.reload(|config| {
        config.hosts.retain(|host| host.names[0] != "b.example");
        let again = testing::certificate(renewed.path(), "a.example");
        config.hosts[1].certificate = Some(again);
    });
    assert_eq!(half.who(), "server", "there is no such host any more");
    hosts.server.connect().expect("HOST b.example", 504);
    let mut client = hosts.client("", "a.example", &TLS13);
    client.expect("NOOP", 200);
    let renewed = CertificateDer::from_pem_file(renewed.path().join("a.example.pem")).unwrap();
    assert!(client.shown() == renewed && renewed != hosts.certificate("a.example"));
}
