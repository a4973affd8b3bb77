//! ABOR, STAT and other commands while a transfer runs or waits to.

use super::{Server, exists};
use rustix::net::SendFlags;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

#[test]
fn abor_ends_a_download() {
    let server = Server::start();
    server.put_large("large", 1 << 40);
    server.put("small", b"abc");
    let mut client = server.alice();
    let mut data = client.pasv();
    client.expect("RETR large", 150);
    data.read_exact(&mut [0; 100_000]).unwrap();
    // As clients send it: IAC IP IAC with the IAC as urgent byte, then DM (RFC 959 §4.1.3).
    let control = client.control.get_ref().socket();
    rustix::net::send(control, b"\xff\xf4\xff", SendFlags::OOB).unwrap();
    client.send(b"\xf2ABOR\r\n");
    client.expect_reply(426);
    client.expect_reply(226);
    // The connection is closed: what is on its way comes, then the end.
    let mut sink = vec![0; 1 << 20];
    while matches!(data.read(&mut sink), Ok(1..)) {}
    assert_eq!(client.retr("small"), b"abc");
}

#[test]
fn abor_may_be_urgent_to_its_last_byte() {
    let server = Server::start();
    server.put_large("large", 1 << 40);
    let mut client = server.alice();
    let _data = client.pasv();
    client.expect("RETR large", 150);
    // Python's ftplib sends the whole line so; the urgent byte is the LF.
    rustix::net::send(
        client.control.get_ref().socket(),
        b"ABOR\r\n",
        SendFlags::OOB,
    )
    .unwrap();
    client.expect_reply(426);
    client.expect_reply(226);
}

#[test]
fn abor_ends_an_upload_and_what_came_stays() {
    let server = Server::start();
    let mut client = server.alice();
    let mut data = client.pasv();
    client.expect("STOR a", 150);
    data.write_all(b"first").unwrap();
    wait_for(|| server.get("a") == b"first");
    client.send(b"ABOR\r\n");
    client.expect_reply(426);
    client.expect_reply(226);
    assert_eq!(server.get("a"), b"first");
}

#[test]
fn abor_while_nobody_connects() {
    let server = Server::start();
    server.put("a", b"abc");
    let mut client = server.alice();
    client.pasv_port();
    client.send(b"RETR a\r\nABOR\r\n");
    client.expect_reply(426);
    client.expect_reply(226);
    assert_eq!(client.retr("a"), b"abc");
}

#[test]
fn stat_answers_at_once_and_others_wait_their_turn() {
    let server = Server::start();
    let mut client = server.alice();
    let mut data = client.pasv();
    client.expect("STOR a", 150);
    data.write_all(b"12345").unwrap();
    wait_for(|| server.get("a") == b"12345");
    client.send(b"NOOP\r\nPWD\r\n");
    let status = client.expect("STAT", 211);
    assert!(status.contains("5 bytes so far"), "{status}");
    drop(data);
    client.expect_reply(226);
    client.expect_reply(200);
    client.expect_reply(257);
}

#[test]
fn quit_lets_the_transfer_finish() {
    let server = Server::start();
    let mut client = server.alice();
    let mut data = client.pasv();
    client.expect("STOR a", 150);
    client.send(b"QUIT\r\n");
    data.write_all(b"all of it").unwrap();
    drop(data);
    client.expect_reply(226);
    client.expect_reply(221);
    assert!(client.is_closed());
    assert_eq!(server.get("a"), b"all of it");
}

#[test]
fn quit_and_the_end_of_what_the_client_says_let_it_finish_too() {
    let server = Server::start();
    server.put_large("large", 32 << 20);
    let mut client = server.alice();
    let mut data = client.pasv();
    client.send(b"RETR large\r\nNOOP\r\nQUIT\r\n");
    client.expect_reply(150);
    let control = client.control.get_ref().socket();
    control.shutdown(Shutdown::Write).unwrap();
    let mut bytes = Vec::new();
    data.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), 32 << 20);
    client.expect_reply(226);
    client.expect_reply(200);
    client.expect_reply(221);
    assert!(client.is_closed());
}

#[test]
fn abor_is_heard_behind_any_number_of_keep_alives() {
    let server = Server::start();
    server.put_large("large", 1 << 40);
    let mut client = server.alice();
    let data = client.pasv();
    client.expect("RETR large", 150);
    client.send(&b"NOOP\r\n".repeat(500));
    client.send(b"PWD\r\nABOR\r\n");
    client.expect_reply(426);
    client.expect_reply(226);
    for _ in 0..500 {
        client.expect_reply(200);
    }
    client.expect_reply(257);
    drop(data);
}

#[test]
fn a_lost_control_connection_cuts_the_transfer() {
    let server = Server::start();
    server.put_large("large", 1 << 40);
    let mut client = server.alice();
    let mut data = client.pasv();
    client.expect("RETR large", 150);
    client.send(&b"NOOP\r\nPWD\r\n".repeat(100));
    drop(client);
    assert_eq!(end_of(&mut data), ErrorKind::ConnectionReset);
}

#[test]
fn so_do_more_commands_than_are_kept() {
    let server = Server::start();
    server.put_large("large", 1 << 40);
    let mut client = server.alice();
    let mut data = client.pasv();
    client.expect("RETR large", 150);
    // It may be gone before it has read them all.
    let _ = client
        .control
        .get_mut()
        .write_all(&b"NOOP\r\nPWD\r\n".repeat(5000));
    assert_eq!(end_of(&mut data), ErrorKind::ConnectionReset);
}

/// Takes what comes until it breaks off.
fn end_of(data: &mut TcpStream) -> ErrorKind {
    let mut sink = vec![0; 1 << 20];
    loop {
        match data.read(&mut sink) {
            Ok(0) => panic!("looks whole"),
            Ok(_) => {}
            Err(error) => return error.kind(),
        }
    }
}

#[test]
fn a_client_that_does_not_read_is_given_up() {
    let server = Server::start_with(|config| config.timeouts.stall = Duration::from_millis(100));
    server.put_large("large", 1 << 40);
    let mut client = server.alice();
    let data = client.pasv();
    client.expect("RETR large", 150);
    client.expect_reply(426);
    drop(data);
    let data = client.pasv();
    client.expect("STOR a", 150);
    client.expect_reply(426);
    drop(data);
    client.expect("NOOP", 200);
}

#[test]
fn a_slow_client_is_not_given_up() {
    let server = Server::start_with(|config| config.timeouts.stall = Duration::from_millis(400));
    let mut client = server.alice();
    let mut data = client.pasv();
    client.expect("STOR a", 150);
    // Longer than the stall time in all, never as long without a byte.
    for n in 0..6 {
        data.write_all(b"x").unwrap();
        wait_for(|| server.get("a").len() == n + 1);
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(data);
    client.expect_reply(226);
}

fn wait_for(done: impl Fn() -> bool) {
    let deadline = Instant::now() + super::PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
}

#[test]
fn what_is_combined_when_abor_comes_is_told_to_be() {
    let server = Server::start();
    let mut client = server.alice();
    let parts: Vec<_> = (0..20).map(|number| format!("part{number}")).collect();
    client.control.get_ref().socket().set_nodelay(true).unwrap();
    let content = vec![b'x'; 64 << 10];
    // At every moment of it, from before its first step to behind its last.
    for delay in (0..60).map(|number| number * Duration::from_micros(50)) {
        for part in &parts {
            server.put(part, &content);
        }
        client.send(format!("COMB whole {}\r\n", parts.join(" ")).as_bytes());
        let sent = Instant::now();
        while sent.elapsed() < delay {
            std::hint::spin_loop();
        }
        client.send(b"ABOR\r\n");
        let combined = client.reply().0 == 250;
        client.expect_reply(226);
        assert_eq!(exists(&server.root().join("whole")), combined);
        for part in &parts {
            assert_eq!(exists(&server.root().join(part)), !combined, "{part}");
        }
        if combined {
            client.expect("DELE whole", 250);
        }
    }
}
