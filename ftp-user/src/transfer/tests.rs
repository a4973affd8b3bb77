//! Transfers without a session: loopback sockets and files.

use super::testing::pair;
use super::*;
use crate::vfs::Upload;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::time::Duration;

const ASCII: Received = Received {
    ascii: true,
    deflated: false,
};
fn content(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn a_file_that_cannot_be_spliced_into_is_written() {
    let monitor = Monitor::default();
    let (connection, mut client) = pair(&monitor);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    // splice(2) refuses O_APPEND.
    let appended = File::options().append(true).open(file.path()).unwrap();
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n >> 8) as u8).collect();
    let sent = bytes.clone();
    let sender = std::thread::spawn(move || client.write_all(&sent).unwrap());
    receive_file(
        &connection,
        Upload::into_file(appended),
        Received::AS_THEY_ARE,
    )
    .await
    .unwrap();
    sender.join().unwrap();
    assert!(content(file.as_file_mut()) == bytes);
    assert_eq!(monitor.bytes(), bytes.len() as u64);
}

#[tokio::test]
async fn a_slow_reader_gets_everything() {
    let monitor = Monitor::default();
    let (connection, mut client) = pair(&monitor);
    let file = tempfile::tempfile().unwrap();
    let size = 30_000_000;
    file.set_len(size).unwrap();
    let reader = std::thread::spawn(move || {
        // Long enough for the sender to give up its thread.
        std::thread::sleep(Duration::from_millis(60));
        std::io::copy(&mut client, &mut std::io::sink()).unwrap()
    });
    send_file(&connection, file, 0..size).await.unwrap();
    connection.finish().unwrap();
    assert_eq!(reader.join().unwrap(), size);
}

#[tokio::test]
async fn only_what_is_large_is_sent_in_whole_segments() {
    for (size, whole) in [(4 << 10, false), (4 << 20, true)] {
        let (connection, mut client) = pair(&Monitor::default());
        let file = tempfile::tempfile().unwrap();
        file.set_len(size).unwrap();
        let reader =
            std::thread::spawn(move || std::io::copy(&mut client, &mut std::io::sink()).unwrap());
        send_file(&connection, file, 0..size).await.unwrap();
        let corked = rustix::net::sockopt::tcp_cork(&connection.link().socket);
        assert_eq!(corked, Ok(whole), "{size} bytes");
        connection.finish().unwrap();
        assert_eq!(reader.join().unwrap(), size);
    }
}

#[tokio::test]
async fn an_abort_reaches_a_transfer_that_waits() {
    let monitor = Monitor::default();
    let (connection, _client) = pair(&monitor);
    let file = tempfile::tempfile().unwrap();
    file.set_len(1 << 40).unwrap();
    let abort = async {
        // Once the client's buffers are full, nothing moves.
        let mut before = u64::MAX;
        while monitor.bytes() != before || before == 0 {
            before = monitor.bytes();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        monitor.abort();
    };
    let (sent, ()) = tokio::join!(send_file(&connection, file, 0..1 << 40), abort);
    assert!(matches!(sent, Err(TransferError::Aborted)), "{sent:?}");
}

#[tokio::test]
async fn a_reset_is_not_the_end_of_a_file() {
    let (connection, mut client) = pair(&Monitor::default());
    send_bytes(&connection, b"half").await.unwrap();
    connection.reset();
    let mut seen = Vec::new();
    assert!(client.read_to_end(&mut seen).is_err());
}

#[tokio::test]
async fn a_full_device_is_told_apart_from_a_broken_connection() {
    let (connection, mut client) = pair(&Monitor::default());
    client.write_all(b"bytes").unwrap();
    drop(client);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let received = receive_file(&connection, Upload::into_file(full), ASCII).await;
    assert!(
        matches!(received, Err(TransferError::Write(_))),
        "{received:?}"
    );
}
