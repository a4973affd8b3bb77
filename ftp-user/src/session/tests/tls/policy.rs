//! What listeners and accounts ask of TLS, and whom a certificate is shown to.

use super::super::{Client, Server, Wire};
use super::{VERSIONS, client_config, server, server_with};
use crate::auth::{Hash, Password, User, UsersFile};
use crate::config::{ListenerTls, TlsPolicy, Use};
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{ClientConnection, StreamOwned};
use std::io::{Read, Write};

/// What a login of `name` is answered, in the clear.
fn clear_login(server: &Server, name: &str, password: &str) -> String {
    let mut client = server.connect();
    let named = client.expect(&format!("USER {name}"), 331);
    client.send(format!("PASS {password}\r\n").as_bytes());
    format!("{named}{}", client.reply().1)
}

#[test]
fn an_account_that_requires_tls_looks_like_none_in_the_clear() {
    let (server, _folder) = server_with(
        |_| {},
        |config| {
            let file = UsersFile::new(config.users.clone().unwrap());
            let hash = Hash::new(&Password::new(b"secret".to_vec())).unwrap();
            let root = config.anonymous.as_ref().unwrap().root.clone();
            let mut private = User::new("private", hash.clone(), root.clone());
            private.tls = Some(Use::Require);
            private.tls_data = Some(Use::Require);
            file.add(private).unwrap();
            let mut plain = User::new("plain", hash, root);
            plain.tls_data = Some(Use::Off);
            file.add(plain).unwrap();
        },
    );
    server.put("a", b"whole");
    let refused = clear_login(&server, "private", "secret");
    assert!(
        refused.contains("530 ") && refused.contains("AUTH TLS"),
        "{refused}"
    );
    assert_eq!(clear_login(&server, "private", "wrong"), refused);
    assert_eq!(clear_login(&server, "nobody", "secret"), refused);
    assert_eq!(clear_login(&server, "alice", "wrong"), refused);
    assert!(clear_login(&server, "alice", "secret").contains("230 "));

    let config = client_config(&TLS13);
    let mut client = server.connect();
    client.auth(&config);
    client.expect("USER private", 331);
    client.expect("PASS secret", 230);
    client.expect("CCC", 534);
    client.expect("EPSV", 229);
    client.expect("RETR a", 521);
    client.expect("PBSZ 0", 200);
    client.expect("PROT C", 534);
    client.expect("PROT P", 200);
    assert_eq!(client.secure_retr("a", &config), b"whole");
    // Another account, other rules.
    client.expect("USER plain", 331);
    client.expect("PASS secret", 230);
    client.expect("EPSV", 229);
    client.expect("RETR a", 521);
    client.expect("PROT P", 534);
    client.expect("PROT C", 200);
    assert_eq!(client.retr("a"), b"whole");
}

#[test]
fn each_listener_has_its_own_rules() {
    let (server, _folder) = server_with(
        |tls| {
            tls.mode = Use::Off;
            tls.listeners = vec![ListenerTls {
                address: "127.0.0.2:0".parse().unwrap(),
                policy: TlsPolicy {
                    control: Use::Require,
                    data: Use::Require,
                },
            }];
        },
        |config| config.listen.push("127.0.0.2:0".parse().unwrap()),
    );
    server.put("a", b"either way");
    let mut clear = server.alice();
    clear.expect("AUTH TLS", 502);
    assert_eq!(clear.retr("a"), b"either way");
    let mut private = Client::connect(server.second.unwrap());
    private.expect("USER alice", 530);
    let config = client_config(&TLS13);
    private.auth(&config);
    private.log_in();
    private.expect("EPSV", 229);
    private.expect("RETR a", 521);
    private.private();
    assert_eq!(private.secure_retr("a", &config), b"either way");
}

#[test]
fn a_host_that_is_named_has_to_be_ours_where_that_is_checked() {
    for (check, name, served) in [
        (true, "localhost", true),
        (true, "other.example", false),
        // No name is sent: RFC 6066 section 3 has none for addresses.
        (true, "127.0.0.1", true),
        (false, "other.example", true),
    ] {
        let (server, _folder) = server(|tls| tls.check_server_name = check);
        for version in VERSIONS {
            let mut client = server.connect();
            client.expect("AUTH TLS", 234);
            let Wire::Clear(socket) = std::mem::replace(client.control.get_mut(), Wire::Between)
            else {
                unreachable!()
            };
            let host = ServerName::try_from(name).unwrap();
            let tls = ClientConnection::new(client_config(version), host).unwrap();
            let mut wire = StreamOwned::new(tls, socket);
            let answered = wire
                .write_all(b"NOOP\r\n")
                .and_then(|()| wire.read(&mut [0; 1]));
            assert_eq!(answered.is_ok(), served, "{check} {name}: {answered:?}");
        }
    }
}

#[test]
fn who_may_not_log_in_again_is_logged_in_no_more() {
    let (server, _folder) = server(|_| {});
    let mut client = server.alice();
    server.reload(|config| {
        if let Some(tls) = &mut config.tls {
            tls.mode = Use::Require;
        }
    });
    // Until it names a user, it has the settings that it logged in with.
    client.expect("PWD", 257);
    client.expect("USER alice", 530);
    client.expect("PWD", 530);
}
