//! The server's end: 421 for everybody, time for those who transfer.

use super::Server;
use std::io::{Read, Write};
use std::time::Duration;

#[test]
fn sessions_end_with_421() {
    let mut server = Server::start();
    let mut idle = server.alice();
    let mut not_logged_in = server.connect();
    server.stop();
    idle.expect_reply(421);
    not_logged_in.expect_reply(421);
    assert!(idle.is_closed());
    assert!(not_logged_in.is_closed());
    server.join();
    assert!(std::net::TcpStream::connect(server.address).is_err());
}

#[test]
fn without_drain_transfers_are_cut() {
    let mut server = Server::start();
    server.put_large("large", 1 << 40);
    let mut client = server.alice();
    let mut data = client.pasv();
    client.expect("RETR large", 150);
    server.stop();
    client.expect_reply(421);
    let mut sink = vec![0; 1 << 20];
    while matches!(data.read(&mut sink), Ok(1..)) {}
    assert!(client.is_closed());
    server.join();
}

#[test]
fn with_drain_transfers_may_finish() {
    let mut server = Server::start_with(|config| config.timeouts.drain = Duration::from_secs(20));
    let mut idle = server.alice();
    let mut client = server.alice();
    let mut data = client.pasv();
    client.expect("STOR a", 150);
    server.stop();
    idle.expect_reply(421);
    data.write_all(b"the rest").unwrap();
    drop(data);
    client.expect_reply(226);
    client.expect_reply(421);
    server.join();
    assert_eq!(server.get("a"), b"the rest");
}
