//! What is in wide use beyond the RFCs: HASH, RANG, MFMT, SITE, COMB, AVBL, CLNT; and RFC 7151 HOST.

use super::{Server, exists, noise};
use crate::config::VirtualHost;
use sha2::{Digest, Sha256};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, UNIX_EPOCH};

#[test]
fn hashes_are_those_of_the_bytes() {
    let server = Server::start();
    server.put("a b", b"123456789");
    let mut client = server.anonymous();
    assert_eq!(
        client.expect("HASH a b", 213),
        "213 SHA-256 0-8 15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225 a b\r\n"
    );
    assert_eq!(client.expect("OPTS HASH", 200), "200 SHA-256\r\n");
    assert_eq!(client.expect("OPTS HASH crc32", 200), "200 CRC32\r\n");
    assert_eq!(
        client.expect("HASH a b", 213),
        "213 CRC32 0-8 cbf43926 a b\r\n"
    );
    assert!(
        client
            .expect("FEAT", 211)
            .contains(" HASH CRC32*;MD5;SHA-1;SHA-256;SHA-512;\r\n")
    );
    client.expect("OPTS HASH CRC-37", 501);
    assert_eq!(client.expect("OPTS HASH", 200), "200 CRC32\r\n");
    for (command, hash) in [
        ("XCRC a b", "CBF43926"),
        ("XCRC \"a b\" 0 9", "CBF43926"),
        ("XMD5 a b", "25F9E794323B453885F5181F1B624D0B"),
        ("XSHA1 a b", "F7C3BC1D808E04732ADF679965CCC34CA7AE3441"),
        ("XSHA a b", "F7C3BC1D808E04732ADF679965CCC34CA7AE3441"),
        // Of "345".
        ("XMD5 \"a b\" 2 5", "D81F9C1BE2E08964BF9F24B15F0E4900"),
    ] {
        assert_eq!(client.expect(command, 250), format!("250 {hash}\r\n"));
    }
    assert!(
        client
            .expect("XSHA256 a b", 250)
            .starts_with("250 15E2B0D3")
    );
    assert!(
        client
            .expect("XSHA512 a b", 250)
            .starts_with("250 D9E6762D")
    );
    client.expect("HASH nothing", 550);
    client.expect("HASH /", 553);
    client.expect("XMD5 \"a b\" 10", 554);
    client.expect("XMD5 \"a b\" 5 2", 501);
    // What is there decides what a number is.
    server.put("a b 7 9", b"3");
    assert_eq!(client.expect("XCRC a b 7 9", 250), "250 6DD28E9B\r\n");
    assert_eq!(client.expect("XCRC a b 2 5", 250), "250 34F5B50F\r\n");
    client.expect("XCRC a b 5 2", 501);
}

#[test]
fn a_range_is_for_the_next_command_only() {
    let server = Server::start();
    let content = noise(200_000);
    server.put("a", &content);
    let mut client = server.alice();
    client.expect("RANG 100 199999", 350);
    assert!(client.retr("a") == content[100..]);
    client.expect("RANG 5 5", 350);
    assert_eq!(client.retr("a"), content[5..=5]);
    assert!(client.retr("a") == content);
    // As far as there are bytes (§4.3 of the draft).
    client.expect("RANG 199990 300000", 350);
    assert_eq!(client.retr("a"), content[199_990..]);
    client.expect("RANG 200000 300000", 350);
    assert_eq!(client.retr("a"), b"");

    client.expect("RANG 10 19", 350);
    client.expect("OPTS HASH SHA-256", 200);
    let hash: String = Sha256::digest(&content[10..20])
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        client.expect("HASH a", 213),
        format!("213 SHA-256 10-19 {hash} a\r\n")
    );
    assert!(client.expect("HASH a", 213).contains(" 0-199999 "));
    client.expect("RANG 200001 200002", 350);
    client.expect("HASH a", 554);

    client.expect("RANG 10 19", 350);
    client.expect("RANG 1 0", 350);
    assert!(client.retr("a") == content);
    // One that makes no sense takes an earlier one back as well (§3).
    client.expect("RANG 10 19", 350);
    client.expect("RANG 19 10", 501);
    assert!(client.retr("a") == content);

    client.expect("RANG 10 19", 350);
    client.pasv_port();
    client.expect("STOR a", 504);
    assert!(server.get("a") == content);
    client.expect("RANG 10 19", 350);
    client.expect("TYPE A", 200);
    client.expect("RETR a", 551);
}

#[test]
fn a_long_hash_can_be_watched_and_ended() {
    let server = Server::start_with(|config| {
        // It must not be taken for silence, or for a transfer that stands still.
        config.timeouts.idle = Duration::from_millis(1);
        config.timeouts.stall = Duration::from_millis(200);
    });
    server.put_large("large", 1 << 42);
    let mut client = server.connect();
    client.send(b"USER alice\r\nPASS secret\r\nHASH large\r\n");
    client.expect_reply(331);
    client.expect_reply(230);
    let deadline = std::time::Instant::now() + Duration::from_millis(400);
    let mut before = 0;
    while std::time::Instant::now() < deadline {
        let status = client.expect("STAT", 211);
        let bytes = status.split("runs: ").nth(1).unwrap();
        let bytes: u64 = bytes.split(' ').next().unwrap().parse().unwrap();
        assert!(bytes >= before);
        before = bytes;
    }
    assert!(before > 0);
    client.send(b"ABOR\r\n");
    client.expect_reply(426);
    client.expect_reply(226);
}

#[test]
fn times_are_set_by_mfmt_and_both_forms_of_utime() {
    let server = Server::start();
    let path = server.put("a b", b"x");
    let mut client = server.alice();
    let modified = || std::fs::metadata(&path).unwrap().modified().unwrap();
    assert_eq!(
        client.expect("MFMT 20010909014640 a b", 213),
        "213 Modify=20010909014640; a b\r\n"
    );
    assert_eq!(modified(), UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    assert!(
        client
            .expect("MDTM a b", 213)
            .starts_with("213 20010909014640")
    );
    // Few file systems have a time for it.
    let said = client.expect("MFMT 00010101000000 a b", 213);
    let time = said.strip_prefix("213 Modify=").unwrap();
    let time = time.strip_suffix("; a b\r\n").unwrap();
    assert_eq!(client.expect("MDTM a b", 213), format!("213 {time}\r\n"));
    client.expect("SITE UTIME 19700101000007 a b", 200);
    assert_eq!(modified(), UNIX_EPOCH + Duration::from_secs(7));
    client.expect(
        "SITE UTIME a b 19700101000008 19700101000009 19700101000010 UTC",
        200,
    );
    assert_eq!(modified(), UNIX_EPOCH + Duration::from_secs(9));
    assert_eq!(std::fs::metadata(&path).unwrap().atime(), 8);
    client.expect("MFMT 20010909014640 nothing", 550);
    client.expect("MFMT 20011309014640 a b", 501);
    client.expect("SITE UTIME yesterday a b", 501);
    let mut anonymous = server.anonymous();
    anonymous.expect("MFMT 20010909014640 a b", 550);
    anonymous.expect("SITE UTIME 20010909014640 a b", 550);
    assert_eq!(modified(), UNIX_EPOCH + Duration::from_secs(9));
}

#[test]
fn site_changes_modes_and_makes_links() {
    let server = Server::start();
    let path = server.put("a", b"x");
    std::fs::create_dir(server.root().join("dir")).unwrap();
    let mut client = server.alice();
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
    client.expect("SITE CHMOD 640 a", 200);
    assert_eq!(mode(), 0o640);
    client.expect("SITE CHMOD 4755 a", 504);
    client.expect("SITE CHMOD u+s a", 501);
    client.expect("SITE CHMOD 640 nothing", 550);
    server.anonymous().expect("SITE CHMOD 777 a", 550);
    assert_eq!(mode(), 0o640);

    client.expect("SITE SYMLINK a link", 200);
    assert_eq!(client.retr("link"), b"x");
    client.expect("SITE SYMLINK a link", 550);
    for target in ["/etc", "../a", "dir/../../a"] {
        client.expect(&format!("SITE SYMLINK {target} out"), 553);
    }
    server.anonymous().expect("SITE SYMLINK a mine", 550);
    assert!(!exists(&server.root().join("out")) && !exists(&server.root().join("mine")));

    let help = client.expect("SITE HELP", 214);
    for name in ["CHMOD", "UTIME", "SYMLINK"] {
        assert!(help.contains(&format!("\r\n {name} ")), "{help}");
    }
    client.expect("SITE FROB", 500);
}

#[test]
fn parts_are_combined() {
    let server = Server::start();
    server.put("part 1", b"one ");
    server.put("part2", b"two");
    let mut client = server.alice();
    client.expect("COMB whole \"part 1\" missing", 550);
    assert!(!exists(&server.root().join("whole")));
    client.expect("COMB whole \"part 1\" part2", 250);
    assert_eq!(server.get("whole"), b"one two");
    assert!(!exists(&server.root().join("part 1")) && !exists(&server.root().join("part2")));
    client.expect("COMB whole", 501);
    client.expect("COMB ../../outside whole", 250);
    assert_eq!(server.get("outside"), b"one two");
    server.anonymous().expect("COMB whole outside", 550);
    assert_eq!(server.get("outside"), b"one two");
}

#[test]
fn a_quota_is_not_passed_by_combining() {
    let bytes = crate::config::Bytes(10_000);
    let server = Server::start_as(|alice| alice.limits.quota_bytes = Some(bytes));
    let mut client = server.alice();
    client.store("STOR part", &noise(4_000));
    client.store("STOR whole", &noise(4_000));
    assert_eq!(client.expect("AVBL", 213), "213 2000\r\n");
    // While both are there, it would be 12,000.
    client.expect("COMB whole part", 552);
    assert_eq!(
        (server.get("whole").len(), server.get("part").len()),
        (4_000, 4_000)
    );
    assert_eq!(client.expect("AVBL", 213), "213 2000\r\n");
    client.store("STOR part", &noise(1_000));
    client.expect("COMB whole part", 250);
    assert_eq!(server.get("whole").len(), 5_000);
    assert_eq!(client.expect("AVBL", 213), "213 5000\r\n");
}

#[test]
fn space_is_told_of_directories() {
    let server = Server::start();
    server.put("a", b"x");
    let mut client = server.alice();
    let bytes = |text: String| text[4..].trim_end().parse::<u64>().unwrap();
    assert!(bytes(client.expect("AVBL", 213)) > 0);
    assert!(bytes(client.expect("AVBL /", 213)) > 0);
    client.expect("AVBL a", 550);
    client.expect("AVBL nothing", 550);
}

#[test]
fn a_host_is_named_before_the_user() {
    let server = Server::start_with(|config| {
        config.hosts = vec![VirtualHost {
            names: vec!["ftp.example.com".into()],
            ..VirtualHost::default()
        }];
    });
    let mut client = server.connect();
    client.expect("HOST other.example.com", 504);
    client.expect("HOST FTP.example.COM", 220);
    client.expect("HOST 127.0.0.1", 220);
    client.expect("HOST 127.0.0.2", 504);
    client.expect("HOST [::1]", 504);
    client.expect("HOST ftp.example.com:21", 501);
    client.expect("HOST", 501);
    assert!(client.expect("FEAT", 211).contains("\r\n HOST\r\n"));
    client.expect("USER alice", 331);
    client.expect("HOST ftp.example.com", 503);
    client.expect("PASS secret", 230);
    client.expect("HOST ftp.example.com", 503);
    client.expect("REIN", 220);
    client.expect("HOST ftp.example.com", 220);
    // Without names of its own, a server answers to any.
    let server = Server::start();
    let mut client = server.connect();
    client.expect("HOST anything.example.com", 220);
    client.expect("CLNT a test, 1.0", 200);
}
