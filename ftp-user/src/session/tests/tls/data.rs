//! Data connections inside TLS: whole, bound to their session, and refused where they are not.

use super::super::{exists, noise};
use super::{VERSIONS, alice, client_config, server, server_with};
use crate::config::{Binding, Use};
use rustls::version::{TLS12, TLS13};
use std::io::{Read, Write};

#[test]
fn files_arrive_as_they_are_and_each_transfer_resumes() {
    for version in VERSIONS {
        let (server, _folder) = server(|_| {});
        let config = client_config(version);
        let mut client = alice(&server, &config);
        // None, one record, more than a step's buffer, and many of them.
        for size in [0, 1, 16_384, 16_385, 65_537, 300_000, 20_000_000] {
            let bytes = noise(size);
            server.put("down", &bytes);
            assert!(client.secure_retr("down", &config) == bytes, "{size}");
            client.secure_store("STOR up", &bytes, &config);
            assert!(server.get("up") == bytes, "{size}");
        }
        client.expect("REST 299990", 350);
        server.put("down", &noise(300_000));
        assert!(client.secure_retr("down", &config) == noise(300_000)[299_990..]);
        client.expect("TYPE A", 200);
        server.put("text", &b"line\n".repeat(60_000));
        let text = client.secure_retr("text", &config);
        assert!(text == b"line\r\n".repeat(60_000));
        client.secure_store("STOR back", &text, &config);
        assert!(server.get("back") == b"line\n".repeat(60_000));
        let mut listing = client.secure_data(&config);
        client.expect("NLST", 150);
        let mut names = String::new();
        listing.read_to_string(&mut names).unwrap();
        client.expect_reply(226);
        assert!(names.contains("down\r\n"), "{names}");
        client.expect("QUIT", 221);
    }
}

#[test]
fn a_data_connection_of_another_session_is_refused() {
    for version in VERSIONS {
        let (server, _folder) = server(|_| {});
        server.put("a", b"secret");
        let config = client_config(version);
        let mut client = alice(&server, &config);
        let other = client_config(version);
        let mut intruder = alice(&server, &other);
        // One that resumes nothing, twice (what its first handshake left is not resumed either),
        // and one that resumes another session.
        let nobody = client_config(version);
        for stranger in [&nobody, &nobody, &other] {
            let mut data = client.secure_data(stranger);
            client.expect("RETR a", 150);
            let mut bytes = Vec::new();
            let _ = data.read_to_end(&mut bytes);
            assert!(bytes.is_empty());
            let text = client.expect_reply(522);
            assert!(text.contains("resume"), "{text}");
            let mut data = client.secure_data(stranger);
            client.expect("STOR a", 150);
            let _ = data.write_all(b"theirs").and_then(|()| data.flush());
            client.expect_reply(522);
            let mut data = client.secure_data(stranger);
            client.expect("STOR new", 150);
            let _ = data.write_all(b"theirs").and_then(|()| data.flush());
            client.expect_reply(522);
            assert!(!exists(&server.root().join("new")));
        }
        assert_eq!(client.secure_retr("a", &config), b"secret");
        intruder.expect("NOOP", 200);
    }
}

#[test]
fn binding_that_is_not_required_takes_new_sessions() {
    for binding in [Binding::Prefer, Binding::Off] {
        let (server, _folder) = server(|tls| tls.session_binding = binding);
        server.put("a", b"fine");
        let mut client = alice(&server, &client_config(&TLS13));
        let fresh = client_config(&TLS13);
        assert_eq!(client.secure_retr("a", &fresh), b"fine");
        client.secure_store("STOR b", b"too", &fresh);
        assert_eq!(server.get("b"), b"too");
    }
}

#[test]
fn an_upload_without_close_notify_is_not_complete() {
    for version in VERSIONS {
        let (server, _folder) = server(|_| {});
        let config = client_config(version);
        let mut client = alice(&server, &config);
        let mut data = client.secure_data(&config);
        client.expect("STOR a", 150);
        data.write_all(&noise(100_000)).unwrap();
        data.sock.shutdown(std::net::Shutdown::Write).unwrap();
        let text = client.expect_reply(426);
        assert!(text.contains("close_notify"), "{text}");
    }
}

/// As a client ends an upload that does not wait for our close_notify.
#[test]
fn an_upload_is_complete_with_its_close_notify_whatever_comes_then() {
    for version in VERSIONS {
        let (server, _folder) = server(|_| {});
        let config = client_config(version);
        let mut client = alice(&server, &config);
        let mut data = client.secure_data(&config);
        client.expect("STOR a", 150);
        // Or the close_notify would wait for an acknowledgement, and be thrown away by the reset.
        data.sock.set_nodelay(true).unwrap();
        data.write_all(b"all of it").unwrap();
        data.conn.send_close_notify();
        data.flush().unwrap();
        rustix::net::sockopt::set_socket_linger(&data.sock, Some(std::time::Duration::ZERO))
            .unwrap();
        drop(data);
        client.expect_reply(226);
        assert_eq!(server.get("a"), b"all of it");
    }
}

/// As Go's crypto/tls uploads: what we say meanwhile is never read, and were there anything, its
/// kernel would throw away at the close what it has not yet sent.
#[test]
fn a_client_that_only_writes_loses_nothing() {
    // Its tickets are used up soon, and it never reads another.
    let (server, _folder) = server(|tls| tls.session_binding = Binding::Off);
    let config = client_config(&TLS13);
    let mut client = alice(&server, &config);
    let bytes = noise(6_000_000);
    for _ in 0..5 {
        let mut data = client.secure_data(&config);
        client.expect("STOR a", 150);
        data.write_all(&bytes).unwrap();
        data.conn.send_close_notify();
        data.flush().unwrap();
        drop(data);
        client.expect_reply(226);
        assert!(server.get("a") == bytes);
    }
}

#[test]
fn data_connections_that_stay_clear_stay_clear() {
    let (server, _folder) = server(|tls| tls.data = Use::Off);
    server.put("a", b"clear");
    let mut client = server.connect();
    client.auth(&client_config(&TLS12));
    client.log_in();
    client.expect("PBSZ 0", 200);
    client.expect("PROT P", 534);
    assert_eq!(client.retr("a"), b"clear");
}

#[test]
fn a_transfer_inside_tls_can_be_ended_by_either_side() {
    for version in VERSIONS {
        let (server, _folder) = server(|_| {});
        server.put_large("large", 1 << 30);
        let config = client_config(version);
        let mut client = alice(&server, &config);
        let mut data = client.secure_data(&config);
        client.expect("RETR large", 150);
        data.read_exact(&mut [0; 1000]).unwrap();
        client.expect("ABOR", 426);
        client.expect_reply(226);
        // Cut short, and seen to be.
        assert!(std::io::copy(&mut data, &mut std::io::sink()).is_err());

        let mut data = client.secure_data(&config);
        client.expect("RETR large", 150);
        data.read_exact(&mut [0; 1000]).unwrap();
        drop(data);
        client.expect_reply(426);
        client.expect("NOOP", 200);
    }
}

#[test]
fn transfers_inside_tls_may_finish_at_the_end() {
    for version in VERSIONS {
        let (mut server, _folder) = server_with(
            |_| {},
            |config| config.timeouts.drain = std::time::Duration::from_secs(20),
        );
        let content = noise(5_000_000);
        server.put("a", &content);
        // Each with a memory of its own: data connections resume their own control connection's.
        let (from_config, to_config) = (client_config(version), client_config(version));
        let (mut down, mut up) = (alice(&server, &from_config), alice(&server, &to_config));
        let mut from = down.secure_data(&from_config);
        down.expect("RETR a", 150);
        let mut start = vec![0; 1000];
        from.read_exact(&mut start).unwrap();
        let mut to = up.secure_data(&to_config);
        up.expect("STOR b", 150);
        server.stop();
        from.read_to_end(&mut start).unwrap();
        assert!(start == content);
        down.expect_reply(226);
        down.expect_reply(421);
        to.write_all(&content).unwrap();
        to.conn.send_close_notify();
        to.flush().unwrap();
        // The server says the same; whoever closes before it is read resets the connection.
        assert_eq!(to.read(&mut [0; 1]).unwrap(), 0);
        up.expect_reply(226);
        up.expect_reply(421);
        server.join();
        assert!(server.get("b") == content);
    }
}
