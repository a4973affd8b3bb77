//! Limits of accounts and addresses, each with the reply that tells of it.

use super::{Client, PATIENCE, Server, exists, noise, settle};
use crate::config::Bytes;
use std::io::Write;
use std::time::{Duration, Instant};

/// Uploads on a new data connection; the client sees the replies to `command` and to the transfer.
fn upload(client: &mut Client, command: &str, bytes: &[u8], code: u16) {
    let mut data = client.pasv();
    client.expect(command, 150);
    // The server may have seen enough before it has seen everything.
    let _ = data.write_all(bytes);
    drop(data);
    client.expect_reply(code);
}

#[test]
fn sessions_of_an_account_are_limited_in_number() {
    let server = Server::start_as(|alice| alice.limits.sessions = Some(1));
    let first = server.alice();
    let mut second = server.connect();
    second.expect("USER alice", 331);
    assert!(
        second
            .expect("PASS secret", 530)
            .contains("Too many sessions")
    );
    // Who does not know the password does not learn of it.
    second.expect("USER alice", 331);
    assert!(second.expect("PASS wrong", 530).contains("incorrect"));
    drop(first);
    // The server learns of the end in its own time.
    let deadline = Instant::now() + PATIENCE;
    loop {
        second.expect("USER alice", 331);
        second.send(b"PASS secret\r\n");
        match second.reply().0 {
            230 => break,
            code => assert!(code == 530 && Instant::now() < deadline, "{code}"),
        }
    }
    // Another login gives the place back at once.
    second.expect("REIN", 220);
    server.alice();
}

#[test]
fn guesses_wait_whatever_connection_they_come_by() {
    let server = Server::start();
    let mut guesser = server.connect();
    guesser.expect("USER alice", 331);
    guesser.expect("PASS wrong", 530);
    let start = Instant::now();
    let mut next = server.connect();
    next.expect("USER alice", 331);
    next.expect("PASS wrong", 530);
    assert!(
        start.elapsed() >= Duration::from_millis(400),
        "{:?}",
        start.elapsed()
    );
    // More at once than are looked at: the rest are refused, unseen, the right one too.
    let mut clients: Vec<_> = (0..12).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.expect("USER alice", 331);
        client.send(b"PASS secret\r\n");
    }
    let codes: Vec<_> = clients.iter_mut().map(|client| client.reply().0).collect();
    assert!(codes.contains(&421) && codes.contains(&230), "{codes:?}");
    // Who got in has cleared the address's name.
    server.alice();
}

#[test]
fn a_file_too_large_is_a_552() {
    let server = Server::start_as(|alice| alice.limits.file_size = Some(Bytes(100_000)));
    let mut client = server.alice();
    client.store("STOR a", &noise(100_000));
    upload(&mut client, "STOR b", &noise(100_001), 552);
    upload(&mut client, "APPE a", b"x", 552);
    client.expect("REST 99999", 350);
    upload(&mut client, "STOR a", b"xy", 552);
    assert_eq!(server.get("a"), noise(100_000));
}

#[test]
fn a_quota_is_a_552_by_every_way() {
    let server = Server::start_as(|alice| {
        alice.limits.quota_bytes = Some(Bytes(100_000));
        alice.limits.quota_files = Some(3);
    });
    // There before the first login, so it counts.
    server.put("old", &noise(40_000));
    let mut client = server.alice();
    client.store("STOR a", &noise(60_000));
    upload(&mut client, "STOR b", b"x", 552);
    assert!(!exists(&server.root().join("b")));
    client.store("STOR b", b"");
    upload(&mut client, "APPE a", b"x", 552);
    client.expect("REST 60000", 350);
    upload(&mut client, "STOR a", b"x", 552);
    // What is not more is no more.
    client.expect("REST 10", 350);
    upload(&mut client, "STOR a", b"x", 226);
    // Three names: old, a, b.
    client.expect("MKD c", 552);
    let port = client.pasv_port();
    client.expect("STOR c", 552);
    client.expect("STOU", 552);
    drop(super::data((client.server(), port).into()));
    assert!(!exists(&server.root().join("c")));
    client.expect("RNFR old", 350);
    client.expect("RNTO b", 250);
    upload(&mut client, "STOR c", b"x", 552);
    client.expect("DELE b", 250);
    client.store("STOR c", &noise(40_000));
    // Another session sees the same.
    let mut other = server.alice();
    upload(&mut other, "APPE c", b"x", 552);
    other.expect("DELE a", 250);
    upload(&mut client, "APPE c", &noise(60_000), 226);
    upload(&mut other, "APPE c", b"x", 552);
}

#[test]
fn uploads_are_atomic_when_configured() {
    let server = Server::start_with(|config| config.uploads.atomic = true);
    server.put("a", b"old");
    let mut client = server.alice();
    let mut data = client.pasv();
    client.expect("STOR a", 150);
    data.write_all(b"new").unwrap();
    let mut other = server.alice();
    assert_eq!(other.retr("a"), b"old");
    assert_eq!(other.listing("NLST"), "a\r\n");
    drop(data);
    client.expect_reply(226);
    assert_eq!(other.retr("a"), b"new");
    // Broken off: the old one stays, what came in is beside it.
    let mut data = client.pasv();
    client.expect("STOR a", 150);
    data.write_all(b"half").unwrap();
    client.expect("ABOR", 426);
    client.expect_reply(226);
    assert_eq!(server.get("a"), b"new");
    let mut names: Vec<_> = std::fs::read_dir(server.root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["a", "a.part"]);
    client.store("STOU", b"unique");
}

/// How long an account's session takes to send or fetch `size` bytes.
fn takes(client: &mut Client, upload: bool, size: usize) -> Duration {
    let start = Instant::now();
    match upload {
        true => client.store("STOR up", &noise(size)),
        false => assert_eq!(client.retr("down").len(), size),
    }
    start.elapsed()
}

#[test]
fn rates_are_kept_per_session_and_per_account() {
    const SIZE: usize = 150_000;
    let rate = Some(Bytes(200_000));
    for (session, is_upload) in [(true, true), (true, false), (false, true), (false, false)] {
        let server = Server::start_with(|config| {
            settle(config, |alice| {
                let limits = &mut alice.limits;
                match (session, is_upload) {
                    (true, true) => limits.session_upload_rate = rate,
                    (true, false) => limits.session_download_rate = rate,
                    (false, true) => limits.upload_rate = rate,
                    (false, false) => limits.download_rate = rate,
                }
            });
        });
        server.put("down", &noise(SIZE));
        let (mut first, mut second) = (server.alice(), server.alice());
        // A tenth of a second's worth is free, so this takes 0.65 s at least.
        let start = Instant::now();
        let alone = takes(&mut first, is_upload, SIZE);
        assert!(
            alone >= Duration::from_millis(500),
            "{session} {is_upload}: {alone:?}"
        );
        // The other way is not limited, nor is another session unless the limit is the account's.
        let other_way = takes(&mut first, !is_upload, SIZE);
        assert!(
            other_way < Duration::from_millis(500),
            "{session} {is_upload}: {other_way:?}"
        );
        takes(&mut second, is_upload, SIZE);
        let both = start.elapsed();
        assert!(
            both >= Duration::from_millis(1100),
            "{session} {is_upload}: {both:?}"
        );
    }
}

#[test]
fn what_can_never_be_stored_is_told_before_it_is_sent() {
    let server = Server::start_as(|alice| {
        alice.limits.quota_bytes = Some(Bytes(1000));
        alice.limits.quota_files = Some(10);
        alice.limits.file_size = Some(Bytes(800));
    });
    let mut alice = server.alice();
    upload(&mut alice, "STOR file", &[0; 600], 226);
    let said = alice.expect("ALLO 300", 202);
    assert!(said.contains("400 bytes are left"), "{said}");
    // It may be about to replace the other one.
    alice.expect("ALLO 500", 202);
    let said = alice.expect("ALLO 801", 552);
    assert!(said.contains("too large"), "{said}");
    let said = alice.expect("SITE QUOTA", 200);
    assert!(said.contains("Bytes: 600 of 1000, 400 left"), "{said}");
    assert!(said.contains("Files: 1 of 10, 9 left"), "{said}");
    assert!(said.contains("Largest file: 800 bytes"), "{said}");
}

#[test]
fn beyond_a_quota_or_the_disk_there_is_no_allocation() {
    let server = Server::start_as(|alice| alice.limits.quota_bytes = Some(Bytes(1000)));
    let mut alice = server.alice();
    alice.expect("ALLO 1000", 202);
    assert!(alice.expect("ALLO 1001", 552).contains("Quota"));
    let server = Server::start();
    let mut alice = server.alice();
    alice.expect(&format!("ALLO {}", i64::MAX), 452);
    assert!(alice.expect("SITE QUOTA", 200).contains("No quota"));
}
