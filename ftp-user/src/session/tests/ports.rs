//! PASV EPSV PORT EPRT: whose ports, which ports, how long.

use super::{Server, active, data};
use crate::config::ForNetwork;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};

fn refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err()
}

#[test]
fn pasv_names_what_the_client_can_reach() {
    let server = Server::start_with(|config| {
        let passive = &mut config.passive;
        passive.address = "localhost".parse().unwrap();
        passive.addresses = vec![ForNetwork {
            network: "127.0.0.1".parse().unwrap(),
            address: "203.0.113.9".parse().unwrap(),
        }];
    });
    let mut client = server.alice();
    assert!(client.expect("PASV", 227).contains("(203,0,113,9,"));
    server.reload(|config| config.passive.addresses.clear());
    // By name.
    let mut next = server.alice();
    assert!(next.expect("PASV", 227).contains("(127,0,0,1,"));
    // Settings are the session's own.
    assert!(client.expect("PASV", 227).contains("(203,0,113,9,"));
    server.reload(|config| {
        config.passive.addresses.clear();
        config.passive.address = "no.such.host.invalid".parse().unwrap();
    });
    let mut lost = server.alice();
    lost.expect("PASV", 425);
    lost.expect("EPSV", 229);
}

#[test]
fn a_transfer_needs_a_data_connection() {
    let server = Server::start();
    let mut client = server.alice();
    client.expect("RETR nothing", 425);
    client.expect("LIST", 425);
    client.expect("STOR new", 425);
    assert!(!super::exists(&server.root().join("new")));
}

#[test]
fn a_new_port_closes_the_earlier_one() {
    let server = Server::start();
    server.put("a", b"abc");
    let mut client = server.alice();
    let ip = client.server();
    let first = SocketAddr::new(ip, client.pasv_port());
    let second = SocketAddr::new(ip, client.epsv_port());
    // It goes right after the reply.
    client.expect("NOOP", 200);
    assert!(refused(first));
    let (listener, port) = active();
    client.expect(&port, 200);
    assert!(refused(second));
    client.expect("RETR a", 150);
    let (mut stream, _) = listener.accept().unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"abc");
    client.expect_reply(226);
    // Used up.
    client.expect("RETR a", 425);
}

#[test]
fn a_passive_port_ends_with_its_connection_abor_quit_and_the_session() {
    let server = Server::start();
    server.put_large("large", 1 << 30);
    let mut client = server.alice();
    let ip = client.server();
    let used = SocketAddr::new(ip, client.pasv_port());
    let stream = data(used);
    client.expect("RETR large", 150);
    assert!(refused(used));
    client.send(b"ABOR\r\n");
    client.expect_reply(426);
    client.expect_reply(226);
    drop(stream);

    let aborted = SocketAddr::new(ip, client.pasv_port());
    client.expect("ABOR", 226);
    assert!(refused(aborted));

    let quit = SocketAddr::new(ip, client.pasv_port());
    client.expect("QUIT", 221);
    assert!(client.is_closed());
    // The session's task ends right behind its last reply.
    let deadline = std::time::Instant::now() + super::PATIENCE;
    while !refused(quit) {
        assert!(std::time::Instant::now() < deadline);
    }

    let mut client = server.alice();
    let dropped = SocketAddr::new(ip, client.pasv_port());
    drop(client);
    while !refused(dropped) {
        assert!(std::time::Instant::now() < deadline);
    }
}

#[test]
fn after_epsv_all_only_epsv() {
    let server = Server::start();
    let mut client = server.alice();
    client.expect("EPSV ALL", 200);
    client.expect("PASV", 503);
    client.expect("PORT 127,0,0,1,8,8", 503);
    client.expect("EPRT |1|127.0.0.1|2056|", 503);
    client.expect("EPSV", 229);
    client.expect("EPSV 1", 229);
}

#[test]
fn addresses_and_families_are_checked_and_a_refusal_changes_nothing() {
    let server = Server::start();
    server.put("a", b"abc");
    let mut client = server.alice();
    let port = client.pasv_port();
    for (command, code) in [
        ("PORT 127,0,0,2,8,8", 504),
        ("PORT 127,0,0,1,3,255", 504),
        ("PORT 127,0,0,1,0,0", 504),
        ("PORT 256,0,0,1,8,8", 501),
        ("PORT 127,0,0,1,8", 501),
        ("EPRT |1|127.0.0.2|2056|", 504),
        ("EPRT |1|127.0.0.1|1023|", 504),
        ("EPRT |1|127.0.0.1|65536|", 501),
        ("EPRT |2|::1|2056|", 522),
        ("EPRT |7|127.0.0.1|2056|", 522),
    ] {
        client.expect(command, code);
    }
    let mut stream = data(SocketAddr::new(client.server(), port));
    client.expect("RETR a", 150);
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"abc");
    client.expect_reply(226);
    for command in ["EPSV 2", "EPSV 9", "EPRT |9|::1|2000|", "EPRT |2|::1|2000|"] {
        let said = client.expect(command, 522);
        assert!(said.ends_with(", use (1)\r\n"), "{command}: {said}");
    }
}

#[test]
fn ipv6_has_epsv_and_eprt() {
    let server = Server::start_with(|config| config.listen = vec!["[::1]:0".parse().unwrap()]);
    server.put("a", b"abc");
    let mut client = server.alice();
    client.expect("PASV", 425);
    client.expect("PORT 127,0,0,1,8,8", 522);
    client.expect("EPSV 1", 522);
    let port = client.epsv_port();
    let mut stream = data(SocketAddr::new(client.server(), port));
    client.expect("RETR a", 150);
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    client.expect_reply(226);

    let listener = std::net::TcpListener::bind("[::1]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    client.expect(&format!("EPRT |2|::1|{port}|"), 200);
    client.expect("RETR a", 150);
    listener
        .accept()
        .unwrap()
        .0
        .read_to_end(&mut bytes)
        .unwrap();
    client.expect_reply(226);
    assert_eq!(bytes, b"abcabc");
}

#[test]
fn a_dual_stack_listener_knows_an_ipv4_client() {
    let server = Server::start_with(|config| config.listen = vec!["[::]:0".parse().unwrap()]);
    server.put("a", b"abc");
    let port = server.address.port();
    let mut client = super::Client::connect(SocketAddr::from(([127, 0, 0, 1], port)));
    client.expect("USER ftp", 331);
    client.expect("PASS x", 230);
    let reply = client.expect("PASV", 227);
    assert!(reply.contains("(127,0,0,1,"), "{reply}");
    client.expect("TYPE I", 200);
    assert_eq!(client.retr("a"), b"abc");
}

#[test]
fn pasv_names_the_public_address() {
    let server = Server::start_with(|config| {
        config.passive.address = "203.0.113.7".parse().unwrap();
    });
    let reply = server.alice().expect("PASV", 227);
    assert!(reply.contains("(203,0,113,7,"), "{reply}");
}

#[test]
fn no_free_port_is_a_425() {
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = probe.local_addr().unwrap().port();
    drop(probe);
    let server = Server::start_with(|config| {
        config.passive.ports = port.to_string().parse().unwrap();
        config.passive.port_timeout = std::time::Duration::from_millis(20);
    });
    server.put("a", b"abc");
    let (mut first, mut second) = (server.alice(), server.alice());
    assert_eq!(first.pasv_port(), port);
    second.expect("PASV", 425);
    second.expect("RETR a", 425);
    // One's own port is given up for the new one.
    assert_eq!(first.epsv_port(), port);
    first.expect("QUIT", 221);
    assert!(first.is_closed());
}

#[test]
fn nobody_connects_and_nobody_listens() {
    let server = Server::start_with(|config| {
        config.passive.connect_timeout = std::time::Duration::from_millis(50);
    });
    server.put("a", b"abc");
    let mut client = server.alice();
    client.pasv_port();
    client.expect("RETR a", 425);
    let (listener, port) = active();
    drop(listener);
    client.expect(&port, 200);
    client.expect("RETR a", 425);
    assert_eq!(client.retr("a"), b"abc");
}

#[test]
fn active_mode_can_be_switched_off() {
    let server = Server::start_with(|config| config.active.enabled = false);
    let mut client = server.alice();
    client.expect("PORT 127,0,0,1,8,8", 502);
    client.expect("EPRT |1|127.0.0.1|2056|", 502);
    assert!(!client.expect("FEAT", 211).contains("EPRT"));
}
