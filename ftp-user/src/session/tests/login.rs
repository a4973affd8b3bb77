//! Who gets in, and what they may do.

use super::{Client, Server, exists};
use std::time::Duration;

#[test]
fn nothing_but_a_login_works_before_a_login() {
    let server = Server::start();
    let mut client = server.connect();
    for command in [
        "PWD",
        "CWD /",
        "CDUP",
        "LIST",
        "NLST",
        "MLSD",
        "MLST",
        "RETR a",
        "STOR a",
        "APPE a",
        "STOU",
        "PASV",
        "EPSV",
        "PORT 127,0,0,1,8,8",
        "EPRT |1|127.0.0.1|2056|",
        "SIZE a",
        "MDTM a",
        "DELE a",
        "MKD a",
        "RMD a",
        "RNFR a",
        "RNTO a",
        "REST 1",
        "TYPE I",
        "STAT",
        "STAT /",
        "ABOR",
        "CCC",
        "SITE HELP",
        "SITE CHMOD 644 a",
        "MFMT 20010909014640 a",
        "HASH a",
        "XCRC a",
        "RANG 0 1",
        "AVBL",
        "COMB a b",
        "MODE Z",
    ] {
        client.expect(command, 530);
    }
    for (command, code) in [
        ("SYST", 215),
        ("FEAT", 211),
        ("HELP", 214),
        ("HELP RETR", 214),
        ("NOOP", 200),
        ("OPTS UTF8 ON", 200),
        ("PASS secret", 503),
        ("ACCT x", 202),
        ("WHAT", 500),
        ("AUTH TLS", 502),
        ("PBSZ 0", 503),
        ("PROT P", 503),
    ] {
        client.expect(command, code);
    }
    client.expect("USER alice", 331);
    client.expect("PWD", 530);
    client.expect("PASS secret", 230);
    client.expect("PWD", 257);
    client.expect("QUIT", 221);
    assert!(client.is_closed());
}

#[test]
fn wrong_passwords_end_the_connection() {
    let server = Server::start_with(|config| config.limits.login_failures = 2);
    let mut client = server.connect();
    client.expect("USER alice", 331);
    client.expect("PASS wrong", 530);
    // A name alone is not a login.
    client.expect("PASS secret", 503);
    client.expect("USER nobody", 331);
    client.expect("PASS secret", 421);
    assert!(client.is_closed());
}

#[test]
fn anonymous_sessions_change_nothing() {
    let server = Server::start();
    let kept = server.put("kept", b"1234");
    let mut client = server.connect();
    client.expect("USER FTP", 331);
    client.expect("PASS", 230);
    let port = client.pasv_port();
    for command in [
        "STOR new",
        "STOR kept",
        "APPE kept",
        "STOU",
        "DELE kept",
        "MKD new",
        "RMD new",
        "RNFR kept",
    ] {
        client.expect(command, 550);
    }
    client.expect("RNTO other", 550);
    assert_eq!(std::fs::read(&kept).unwrap(), b"1234");
    assert!(!exists(&server.root().join("new")));
    // Refusals left the passive port as it was.
    drop(super::data((client.server(), port).into()));
    client.expect("TYPE I", 200);
    assert_eq!(client.retr("kept"), b"1234");
}

#[test]
fn rein_and_user_log_out() {
    let server = Server::start();
    let mut client = server.alice();
    client.expect("REIN", 220);
    client.expect("PWD", 530);
    client.expect("USER alice", 331);
    client.expect("PASS secret", 230);
    // RFC 959 §5.1: the default type is ASCII, and REIN has brought it back.
    client.expect("SIZE x", 550);
    client.expect("USER alice", 331);
    client.expect("PWD", 530);
}

#[test]
fn a_line_too_long_is_one_500_and_no_more() {
    let server = Server::start();
    let mut client = server.connect();
    let mut line = vec![b'A'; 1 << 20];
    line.extend_from_slice(b"\r\nNOOP\r\n");
    client.send(&line);
    client.expect_reply(500);
    client.expect_reply(200);
    client.send(b"NOOP a\0b\r\n");
    client.expect_reply(501);
    client.send(b"CWD a\rb\r\n");
    client.expect_reply(501);
}

#[test]
fn commands_may_come_all_at_once() {
    let server = Server::start();
    let mut client = server.connect();
    client.send(b"USER alice\r\nPASS secret\r\nPWD\r\nNOOP\nQUIT\r\n");
    for code in [331, 230, 257, 200, 221] {
        client.expect_reply(code);
    }
    assert!(client.is_closed());
}

#[test]
fn silence_ends_with_421() {
    let server = Server::start_with(|config| {
        config.timeouts.login = Duration::from_millis(300);
        config.timeouts.idle = Duration::from_millis(50);
    });
    // Not by the idle time before the login, and commands do not put the login time off.
    let mut slow = server.connect();
    let mut quick = server.anonymous();
    quick.expect_reply(421);
    assert!(quick.is_closed());
    slow.expect("NOOP", 200);
    slow.expect_reply(421);
    assert!(slow.is_closed());
}

#[test]
fn sessions_are_limited_in_number() {
    let server = Server::start_with(|config| config.limits.sessions_per_address = 1);
    let first = server.connect();
    let turned_away = std::net::TcpStream::connect(server.address).unwrap();
    turned_away.set_read_timeout(Some(super::PATIENCE)).unwrap();
    let mut turned_away = Client {
        control: std::io::BufReader::new(super::Wire::Clear(turned_away)),
    };
    turned_away.expect_reply(421);
    assert!(turned_away.is_closed());
    drop(first);
    // The ended session makes room; the server learns of its end in its own time.
    let deadline = std::time::Instant::now() + super::PATIENCE;
    loop {
        let next = std::net::TcpStream::connect(server.address).unwrap();
        next.set_read_timeout(Some(super::PATIENCE)).unwrap();
        let mut next = Client {
            control: std::io::BufReader::new(super::Wire::Clear(next)),
        };
        match next.reply().0 {
            220 => break,
            code => assert!(code == 421 && std::time::Instant::now() < deadline),
        }
    }
}
