//! MODE Z: files and listings as one zlib stream, both ways.

use super::{Client, Server, noise};
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use std::io::{Read, Write};

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn inflate(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    ZlibDecoder::new(bytes).read_to_end(&mut out).unwrap();
    out
}

/// What the data connection carries.
fn fetch(client: &mut Client, command: &str) -> Vec<u8> {
    let mut data = client.pasv();
    client.expect(command, 150);
    let mut bytes = Vec::new();
    data.read_to_end(&mut bytes).unwrap();
    client.expect_reply(226);
    bytes
}

#[test]
fn files_and_listings_are_sent_deflated() {
    let server = Server::start();
    let text = b"the same again\n".repeat(50_000);
    server.put("text", &text);
    server.put("small", b"abc");
    server.put("empty", b"");
    server.put("noise", &noise(300_000));
    let mut client = server.alice();
    assert!(client.expect("FEAT", 211).contains("\r\n MODE Z\r\n"));
    client.expect("MODE Z", 200);
    assert!(client.expect("STAT", 211).contains("MODE: deflate"));
    let sent = fetch(&mut client, "RETR text");
    assert!(sent.len() < text.len() / 50, "{}", sent.len());
    assert!(inflate(&sent) == text);
    assert_eq!(inflate(&fetch(&mut client, "RETR small")), b"abc");
    assert_eq!(inflate(&fetch(&mut client, "RETR empty")), b"");
    assert!(inflate(&fetch(&mut client, "RETR noise")) == noise(300_000));
    // REST counts bytes of the file, not of what goes over the wire.
    client.expect("REST 200000", 350);
    assert!(inflate(&fetch(&mut client, "RETR noise")) == noise(300_000)[200_000..]);
    let listing = String::from_utf8(inflate(&fetch(&mut client, "MLSD"))).unwrap();
    assert_eq!(listing.lines().count(), 4);
    assert!(listing.contains("; small\r\n"), "{listing}");

    client.expect("OPTS MODE Z LEVEL 0", 200);
    assert!(fetch(&mut client, "RETR text").len() > text.len());
    client.expect("OPTS MODE Z LEVEL 9", 200);
    client.expect("TYPE A", 200);
    let ascii = inflate(&fetch(&mut client, "RETR text"));
    assert!(ascii == b"the same again\r\n".repeat(50_000));
    client.expect("MODE S", 200);
    client.expect("TYPE I", 200);
    assert_eq!(client.retr("small"), b"abc");
}

#[test]
fn uploads_are_inflated() {
    let server = Server::start();
    let mut client = server.alice();
    client.expect("MODE Z", 200);
    let text = b"the same again\r\n".repeat(50_000);
    client.store("STOR a", &deflate(&text));
    assert!(server.get("a") == text);
    client.store("APPE a", &deflate(b"more"));
    assert!(server.get("a") == [&text[..], b"more"].concat());
    client.expect("TYPE A", 200);
    client.store("STOR a", &deflate(&text));
    assert!(server.get("a") == b"the same again\n".repeat(50_000));
    client.store("STOR empty", &deflate(b""));
    assert_eq!(server.get("empty"), b"");
    client.store("STOR empty", b"");
    assert_eq!(server.get("empty"), b"");
}

#[test]
fn what_is_no_whole_stream_is_no_whole_file() {
    let server = Server::start();
    let mut client = server.alice();
    client.expect("MODE Z", 200);
    let whole = deflate(&noise(100_000));
    let longer = [&whole[..], b"x"].concat();
    for bytes in [b"plain text, sent as it is", &whole[..50_000], &longer] {
        let mut data = client.pasv();
        client.expect("STOR a", 150);
        data.write_all(bytes).unwrap();
        drop(data);
        client.expect_reply(426);
    }
    client.expect("NOOP", 200);
}

/// What counts is what is stored.
#[test]
fn a_file_may_not_inflate_beyond_its_limit() {
    let most = crate::config::Bytes(100_000);
    let server = Server::start_as(|alice| alice.limits.file_size = Some(most));
    let mut client = server.alice();
    client.expect("MODE Z", 200);
    for (size, code) in [(100_000, 226), (100_001, 552)] {
        let mut data = client.pasv();
        client.expect("STOR a", 150);
        data.write_all(&deflate(&vec![0; size])).unwrap();
        drop(data);
        client.expect_reply(code);
        assert!(server.get("a").len() <= 100_000);
    }
}

/// A thousand times as long as what was sent, and never in memory as a whole.
#[test]
fn a_stream_that_inflates_to_very_much_is_stored_piece_by_piece() {
    let server = Server::start();
    let mut client = server.alice();
    client.expect("MODE Z", 200);
    let bomb = deflate(&vec![0; 200 << 20]);
    assert!(bomb.len() < 1 << 20);
    client.store("STOR zeros", &bomb);
    let stored = std::fs::metadata(server.root().join("zeros")).unwrap();
    assert_eq!(stored.len(), 200 << 20);
}
