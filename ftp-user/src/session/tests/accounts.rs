//! Accounts: from where they are let in, as whom they use files, where their data connections go.

use super::{Client, Server, exists, settle};
use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

/// USER and PASS as alice, and the code of the last reply with its text.
fn log_in(client: &mut Client, password: &str) -> (u16, String) {
    client.expect("USER alice", 331);
    client.send(format!("PASS {password}\r\n").as_bytes());
    client.reply()
}

#[test]
fn who_is_not_let_in_is_told_what_a_guesser_is_told() {
    let guessed = log_in(&mut Server::start().connect(), "wrong");
    assert_eq!(guessed.0, 530);
    let elsewhere = Server::start_as(|alice| alice.allow = vec!["192.0.2.0/24".parse().unwrap()]);
    assert_eq!(log_in(&mut elsewhere.connect(), "secret"), guessed);
    let disabled = Server::start_as(|alice| alice.disabled = true);
    assert_eq!(log_in(&mut disabled.connect(), "secret"), guessed);
    let here = Server::start_as(|alice| {
        alice.allow = vec![
            "192.0.2.0/24".parse().unwrap(),
            "127.0.0.1".parse().unwrap(),
        ];
    });
    assert_eq!(log_in(&mut here.connect(), "secret").0, 230);
}

#[test]
fn files_are_used_as_the_accounts_user() {
    let umask = "027".parse().unwrap();
    let Some(server) = Server::start_as_another(|alice| alice.umask = Some(umask)) else {
        return;
    };
    fs::set_permissions(server.root(), Permissions::from_mode(0o777)).unwrap();
    let secret = server.put("secret", b"root's");
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let closed = server.root().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();

    let mut client = server.alice();
    client.store("STOR mine", b"alice's");
    client.store("APPE mine", b" own");
    client.expect("MKD made", 257);
    for (name, mode) in [("mine", 0o640), ("made", 0o750)] {
        let made = fs::metadata(server.root().join(name)).unwrap();
        assert_eq!(
            (made.uid(), made.gid(), made.mode() & 0o777),
            (54_321, 54_322, mode),
            "{name}"
        );
    }
    assert_eq!(client.retr("mine"), b"alice's own");
    let listing = client.listing("LIST");
    assert_eq!(listing.lines().count(), 4, "{listing}");
    let port = client.pasv_port();
    for command in [
        "RETR secret",
        "STOR secret",
        "APPE secret",
        "CWD closed",
        "LIST closed",
        "MKD closed/in",
        "STOR closed/in",
    ] {
        client.expect(command, 550);
    }
    drop(super::data((client.server(), port).into()));
    assert_eq!(fs::read(&secret).unwrap(), b"root's");
    // A session that changes hands between commands leaves nothing behind: anonymous is the
    // daemon's own user, on the same threads.
    let mut anonymous = server.anonymous();
    for _ in 0..20 {
        assert_eq!(anonymous.retr("secret"), b"root's");
        client.expect("SIZE mine", 213);
        client.expect("CWD closed", 550);
    }
}

#[test]
fn rights_are_what_they_are_said_to_be() {
    let only = |rights: &str| {
        let rights = rights.parse().unwrap();
        let server = Server::start_as(|alice| alice.rights = rights);
        server.put("log", b"0123");
        fs::create_dir(server.root().join("incoming")).unwrap();
        server
    };
    // A place to drop things: in, and nothing to see.
    let server = only("write");
    let mut client = server.alice();
    client.expect("CWD incoming", 250);
    client.store("STOR a", b"012345");
    client.expect("REST 4", 350);
    client.store("STOR a", b"ab");
    assert_eq!(server.get("incoming/a"), b"0123ab");
    for command in ["APPE a", "LIST", "RETR a", "DELE a", "SIZE a"] {
        client.expect(command, 550);
    }
    // A log: what is in it stays.
    let server = only("append");
    let mut client = server.alice();
    client.expect("CWD incoming", 250);
    client.expect("CWD /", 250);
    client.store("APPE log", b"45");
    client.store("APPE another", b"6");
    client.expect("REST 2", 350);
    for command in ["STOR log", "STOR new", "STOU"] {
        client.expect(command, 550);
    }
    assert_eq!(server.get("log"), b"012345");
    assert_eq!(server.get("another"), b"6");
    // Names may change, and nothing is lost by it.
    let server = only("append,rename");
    let mut client = server.alice();
    client.store("APPE new", b"new");
    client.expect("RNFR new", 350);
    client.expect("RNTO log", 550);
    assert_eq!(server.get("log"), b"0123");
    client.expect("RNFR new", 350);
    client.expect("RNTO newer", 250);
    assert_eq!(server.get("newer"), b"new");
}

#[test]
fn passive_ports_are_the_accounts_own() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let ports: crate::config::PortSet = port.to_string().parse().unwrap();
    let server = Server::start_with(|config| {
        config.passive.ports = format!("20000-60000,{port}").parse().unwrap();
        config.listen = vec!["127.0.0.1:0".parse().unwrap()];
        settle(config, |alice| alice.passive_ports = Some(ports));
    });
    let mut client = server.alice();
    for _ in 0..3 {
        assert_eq!(client.pasv_port(), port);
        assert_eq!(client.epsv_port(), port);
    }
}

#[test]
fn data_connections_to_other_hosts_only_with_leave() {
    let other = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
    let [high, low] = other.local_addr().unwrap().port().to_be_bytes();
    let port = format!("PORT 127,0,0,2,{high},{low}");
    Server::start().alice().expect(&port, 504);
    let server = Server::start_as(|alice| alice.fxp = vec!["127.0.0.2".parse().unwrap()]);
    server.put("a", b"for another server");
    let mut client = server.alice();
    client.expect("PORT 127,0,0,3,8,8", 504);
    client.expect("PORT 127,0,0,2,0,80", 504);
    client.expect(&port, 200);
    client.expect("RETR a", 150);
    let (mut data, from) = other.accept().unwrap();
    assert_eq!(from.ip(), client.server());
    let mut bytes = Vec::new();
    data.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"for another server");
    client.expect_reply(226);
    assert!(exists(&server.root().join("a")));
}
