//! RETR STOR APPE STOU REST, in both types and both ways.

use super::{Server, noise};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;

#[test]
fn files_arrive_as_they_are() {
    let server = Server::start();
    let mut client = server.alice();
    // None, one read's worth, and one that takes sendfile and several steps.
    for size in [0, 1, 65_536, 65_537, 20_000_000] {
        let bytes = noise(size);
        server.put("down", &bytes);
        assert!(client.retr("down") == bytes, "{size}");
        client.store("STOR up", &bytes);
        assert!(server.get("up") == bytes, "{size}");
    }
    client.expect("STAT", 211);
}

/// Whoever takes the place of the client, or nobody: there is no reason to empty anything yet.
#[test]
fn a_file_stays_as_it_is_until_bytes_come_in_its_place() {
    for remove_aborted in [false, true] {
        let server = Server::start_with(|config| config.uploads.remove_aborted = remove_aborted);
        server.put("a", b"what was there");
        let mut client = server.alice();
        // Nobody connects.
        client.pasv_port();
        client.send(b"STOR a\r\nABOR\r\n");
        client.expect_reply(426);
        client.expect_reply(226);
        assert_eq!(server.get("a"), b"what was there");
        // Nothing comes.
        let data = client.pasv();
        client.expect("STOR a", 150);
        client.send(b"ABOR\r\n");
        client.expect_reply(426);
        client.expect_reply(226);
        drop(data);
        assert_eq!(server.get("a"), b"what was there");
        client.store("STOR a", b"new");
        assert_eq!(server.get("a"), b"new");
        client.store("STOR a", b"");
        assert_eq!(server.get("a"), b"");
        client.expect("TYPE A", 200);
        client.store("STOR a", b"\r\n");
        client.store("STOR a", b"");
        assert_eq!(server.get("a"), b"");
    }
}

/// How many segments with data this end has got (tcp(7), `TCP_INFO`).
fn segments(socket: &TcpStream) -> u32 {
    // SAFETY: it is all numbers.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the socket is open, and the kernel writes `length` bytes at the most.
    let got = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    assert_eq!(got, 0);
    info.tcpi_data_segs_in
}

/// Devices take a reply from each segment, and wait for ever for one that came with another.
#[test]
fn each_reply_of_a_download_is_a_segment() {
    let server = Server::start();
    let bytes = noise(1000);
    server.put("a", &bytes);
    let mut client = server.alice();
    for _ in 0..20 {
        let mut data = client.pasv();
        let before = segments(client.control.get_ref().socket());
        client.expect("RETR a", 150);
        let mut got = Vec::new();
        data.read_to_end(&mut got).unwrap();
        assert_eq!(got, bytes);
        assert_eq!(segments(&data), 1);
        client.expect_reply(226);
        assert_eq!(segments(client.control.get_ref().socket()) - before, 2);
    }
}

#[test]
fn rest_starts_a_download_later() {
    let server = Server::start();
    let bytes = noise(200_000);
    server.put("a", &bytes);
    let mut client = server.alice();
    for offset in [1, 100_000, 199_999, 200_000] {
        client.expect(&format!("REST {offset}"), 350);
        assert!(client.retr("a") == bytes[offset..], "{offset}");
    }
    let port = client.pasv_port();
    client.expect("REST 200001", 350);
    client.expect("RETR a", 554);
    drop(super::data((client.server(), port).into()));
    // It was used up.
    assert!(client.retr("a") == bytes);
    // Whoever looks around first means it still, ...
    client.expect("REST 5", 350);
    for (command, code) in [("PWD", 257), ("CWD /", 250), ("FEAT", 211), ("MLST a", 250)] {
        client.expect(command, code);
    }
    assert!(client.retr("a") == bytes[5..]);
    // ... and whoever begins something else does not.
    client.expect("REST 5", 350);
    client.expect("RNFR a", 350);
    assert!(client.retr("a") == bytes);
}

#[test]
fn rest_starts_an_upload_later() {
    let server = Server::start();
    server.put("a", b"0123456789");
    let mut client = server.alice();
    client.expect("REST 4", 350);
    client.store("STOR a", b"abc");
    assert_eq!(server.get("a"), b"0123abc789");
    client.expect("REST 10", 350);
    client.store("STOR a", b"end");
    assert_eq!(server.get("a"), b"0123abc789end");
    let port = client.pasv_port();
    client.expect("REST 14", 350);
    client.expect("STOR a", 554);
    drop(super::data((client.server(), port).into()));
    client.store("STOR a", b"new");
    assert_eq!(server.get("a"), b"new");
    client.store("APPE a", b"er");
    client.store("APPE b", b"made");
    assert_eq!(server.get("a"), b"newer");
    assert_eq!(server.get("b"), b"made");
}

#[test]
fn stou_makes_a_name() {
    let server = Server::start();
    let mut client = server.alice();
    let mut names = Vec::new();
    for _ in 0..2 {
        let mut data = client.pasv();
        let reply = client.expect("STOU", 150);
        let name = reply
            .strip_prefix("150 FILE: ")
            .unwrap()
            .trim_end()
            .to_owned();
        data.write_all(b"unique").unwrap();
        drop(data);
        client.expect_reply(226);
        assert_eq!(server.get(&name), b"unique");
        names.push(name);
    }
    assert_ne!(names[0], names[1]);
}

#[test]
fn ascii_turns_line_ends_both_ways() {
    let server = Server::start();
    let text = "line\n".repeat(60_000);
    server.put("a", text.as_bytes());
    let mut client = server.alice();
    client.expect("TYPE A", 200);
    let sent = client.retr("a");
    assert!(sent == text.replace('\n', "\r\n").as_bytes());
    client.store("STOR b", &sent);
    assert!(server.get("b") == text.as_bytes());
    client.store("STOR c", b"a\rb\r");
    assert_eq!(server.get("c"), b"a\rb\r");
}

#[test]
fn rest_counts_the_bytes_of_the_data_stream() {
    let server = Server::start();
    server.put("a", b"a\nb\nc\n");
    let mut client = server.alice();
    client.expect("TYPE A", 200);
    for (offset, rest) in [(2, &b"\nb\r\nc\r\n"[..]), (8, b"\n"), (9, b"")] {
        client.expect(&format!("REST {offset}"), 350);
        assert_eq!(client.retr("a"), rest, "{offset}");
    }
    for (offset, code) in [(10, 150), (13, 554)] {
        client.expect(&format!("REST {offset}"), 350);
        let data = client.pasv();
        client.expect("RETR a", code);
        if code == 150 {
            client.expect_reply(554);
        }
        drop(data);
    }
    let data = client.pasv();
    client.expect("REST 2", 350);
    client.expect("STOR a", 555);
    drop(data);
    assert_eq!(server.get("a"), b"a\nb\nc\n");
}

#[test]
fn what_is_no_file_is_refused() {
    let server = Server::start();
    std::fs::create_dir(server.root().join("dir")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        server.root().join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let mut client = server.alice();
    let port = client.pasv_port();
    for command in [
        "RETR dir",
        "RETR fifo",
        "RETR nothing",
        "STOR dir",
        "APPE fifo",
        "STOR no/where",
    ] {
        client.expect(command, 550);
    }
    drop(super::data((client.server(), port).into()));
}

#[test]
fn many_clients_at_once() {
    let server = Server::start();
    let bytes = noise(3_000_000);
    server.put("a", &bytes);
    std::thread::scope(|scope| {
        for n in 0..16 {
            let (server, bytes) = (&server, &bytes);
            scope.spawn(move || {
                let mut client = server.alice();
                assert!(client.retr("a") == *bytes);
                client.store(&format!("STOR up{n}"), bytes);
                assert!(server.get(&format!("up{n}")) == *bytes);
            });
        }
    });
}

#[test]
fn a_client_that_breaks_off_a_download_gets_a_426() {
    let server = Server::start();
    server.put_large("large", 1 << 30);
    let mut client = server.alice();
    let mut data = client.pasv();
    client.expect("RETR large", 150);
    data.read_exact(&mut [0; 1000]).unwrap();
    drop(data);
    client.expect_reply(426);
    client.expect("NOOP", 200);
}

#[test]
fn a_file_that_shrinks_is_no_whole_file() {
    let server = Server::start();
    server.put_large("large", 1 << 30);
    let mut client = server.alice();
    let mut data = client.pasv();
    client.expect("RETR large", 150);
    data.read_exact(&mut [0; 1000]).unwrap();
    std::fs::File::options()
        .write(true)
        .open(server.root().join("large"))
        .unwrap()
        .set_len(0)
        .unwrap();
    let mut sink = vec![0; 1 << 20];
    let ended = loop {
        match data.read(&mut sink) {
            Ok(0) => break "end",
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break "reset",
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(ended, "reset");
    client.expect_reply(451);
}
