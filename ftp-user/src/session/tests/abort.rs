//! ABOR, STAT and other commands while a transfer runs or waits to.

use super::Server;
use rustix::net::SendFlags;
use std::io::{Read, Write};
use std::time::Duration;

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
fn a_flood_of_commands_waits_outside() {
    let server = Server::start();
    let mut client = server.alice();
    let data = client.pasv();
    client.expect("STOR a", 150);
    client.send(&b"NOOP\r\n".repeat(500));
    drop(data);
    client.expect_reply(226);
    for _ in 0..500 {
        client.expect_reply(200);
    }
}

#[test]
fn a_lost_control_connection_ends_the_transfer() {
    let server = Server::start();
    server.put_large("large", 1 << 40);
    let mut client = server.alice();
    let mut data = client.pasv();
    client.expect("RETR large", 150);
    drop(client);
    let mut sink = vec![0; 1 << 20];
    while matches!(data.read(&mut sink), Ok(1..)) {}
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
    let deadline = std::time::Instant::now() + super::PATIENCE;
    while !done() {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
}
