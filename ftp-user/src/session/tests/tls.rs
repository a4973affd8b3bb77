//! RFC 4217: AUTH PBSZ PROT CCC, data connections inside TLS, and everything that is refused.

mod control;
mod data;
mod policy;
mod virtual_hosts;

use super::{Client, Server, Wire};
use crate::config::{Config, Tls};
use crate::tls::testing;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, StreamOwned, SupportedProtocolVersion};
use std::io::{Read, Write};
use std::net::TcpStream;
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
