//! Both ends of a data connection inside TLS, the client's record by record.

use super::super::monitor::Monitor;
use super::super::produce::Produce;
use super::super::store::Received;
use super::super::testing::pair;
use super::*;
use crate::tls::{DataTls, SessionTls, Tls, testing};
use crate::vfs::Upload;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, ClientConnection, ServerConnection};
use std::io::{Read, Seek, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// A control connection that is over, whose session data connections resume.
fn sessions() -> impl Iterator<Item = (SessionTls, Arc<ClientConfig>)> {
    let folder = tempfile::tempdir().unwrap();
    let tls = Arc::new(Tls::load(&testing::settings(folder.path()), &[]).unwrap());
    [&TLS12, &TLS13].into_iter().map(move |version| {
        let session = tls.session();
        let config = Arc::new(testing::client(version));
        let mut server = ServerConnection::new(session.control(None)).unwrap();
        let mut client = client(&config);
        while client.wants_write() || server.wants_write() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut &wire[..]).unwrap();
            server.process_new_packets().unwrap();
            wire.clear();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            while !wire.is_empty() {
                let read = client.read_tls(&mut &wire[..]).unwrap();
                wire.drain(..read);
                client.process_new_packets().unwrap();
            }
        }
        (session, config)
    })
}

fn client(config: &Arc<ClientConfig>) -> ClientConnection {
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::clone(config), name).unwrap();
    client.set_buffer_limit(None);
    client
}

/// What the client heard, up to the end.
type Heard = JoinHandle<Result<Vec<u8>, rustls::Error>>;

/// Hands are shaken, in a session that is resumed. What the client has to say last of it is left to
/// `say`, with all that it says then, in pieces. It ends its side after that.
async fn shaken(
    session: &SessionTls,
    config: &Arc<ClientConfig>,
    say: impl FnOnce(&mut ClientConnection) -> Vec<Vec<u8>> + Send + 'static,
) -> (DataConnection, Secured, Heard) {
    let (connection, mut socket) = pair(&Monitor::default());
    let mut client = client(config);
    let client = thread::spawn(move || {
        client.write_tls(&mut socket).unwrap();
        while client.is_handshaking() {
            client.read_tls(&mut socket).unwrap();
            client.process_new_packets()?;
        }
        for piece in say(&mut client) {
            socket.write_all(&piece).unwrap();
        }
        socket.shutdown(Shutdown::Write).unwrap();
        let mut heard = Vec::new();
        while client.read_tls(&mut socket).unwrap() > 0 {
            let state = client.process_new_packets()?;
            let start = heard.len();
            heard.resize(start + state.plaintext_bytes_to_read(), 0);
            client.reader().read_exact(&mut heard[start..]).unwrap();
        }
        Ok(heard)
    });
    let DataTls {
        connection: tls,
        bond,
    } = session.data(None).unwrap();
    let secured = handshake(&connection, tls).await.unwrap();
    assert!(bond.holds(secured.handshake_kind()));
    (connection, secured, client)
}

/// All records that are to be sent.
fn records(client: &mut ClientConnection) -> Vec<u8> {
    let mut records = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut records).unwrap();
    }
    records
}

fn noise(size: u32) -> Vec<u8> {
    let noise = (0..size).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8);
    noise.collect()
}

/// Receives into a file: what is in it then, and why there is no more.
async fn received(connection: DataConnection, tls: Secured) -> (Vec<u8>, Option<TransferError>) {
    let mut file = tempfile::tempfile().unwrap();
    let upload = Upload::into_file(file.try_clone().unwrap());
    let ended = receive_secured(&connection, tls, upload, Received::AS_THEY_ARE).await;
    let mut content = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut content).unwrap();
    (content, ended.err())
}

#[tokio::test]
async fn what_comes_along_with_the_end_of_a_handshake_is_not_lost() {
    for (session, config) in sessions() {
        for (size, ends) in [(0, true), (1, true), (10_000, true), (10_000, false)] {
            let say = move |client: &mut ClientConnection| {
                client.writer().write_all(&noise(size)).unwrap();
                if ends {
                    client.send_close_notify();
                }
                vec![records(client)]
            };
            let (connection, tls, client) = shaken(&session, &config, say).await;
            assert_eq!((tls.plain.len(), tls.has_ended()), (size as usize, ends));
            let (content, error) = received(connection, tls).await;
            assert!(content == noise(size));
            match (ends, error) {
                (true, None) | (false, Some(TransferError::Truncated)) => {}
                (_, error) => panic!("{ends}: {error:?}"),
            }
            assert_eq!(client.join().unwrap().unwrap(), b"");
        }
    }
}

#[tokio::test]
async fn records_are_whole_whatever_pieces_they_come_in() {
    for (session, config) in sessions() {
        for piece in [1, 7, 16_384, 65_536] {
            let size = if piece < 10 { 3000 } else { 3_000_000 };
            let say = move |client: &mut ClientConnection| {
                let all = noise(size);
                let (some, rest) = all.split_at(all.len() / 3);
                client.writer().write_all(some).unwrap();
                if client.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
                    client.refresh_traffic_keys().unwrap();
                }
                client.writer().write_all(rest).unwrap();
                client.send_close_notify();
                let records = records(client);
                records.chunks(piece).map(<[u8]>::to_vec).collect()
            };
            let (connection, tls, client) = shaken(&session, &config, say).await;
            let (content, error) = received(connection, tls).await;
            assert!(error.is_none(), "{error:?}");
            assert!(content == noise(size), "{piece}");
            assert_eq!(client.join().unwrap().unwrap(), b"");
        }
    }
}

#[tokio::test]
async fn a_record_that_is_broken_is_told_to_the_client() {
    for (session, config) in sessions() {
        let say = |client: &mut ClientConnection| {
            client.writer().write_all(&noise(100_000)).unwrap();
            let mut records = records(client);
            *records.last_mut().unwrap() ^= 1;
            vec![records]
        };
        let (connection, tls, client) = shaken(&session, &config, say).await;
        let (content, error) = received(connection, tls).await;
        assert!(matches!(
            error,
            Some(TransferError::Tls(rustls::Error::DecryptError))
        ));
        assert!(noise(100_000).starts_with(&content));
        let heard = client.join().unwrap();
        let alert = rustls::Error::AlertReceived(AlertDescription::BadRecordMac);
        assert_eq!(heard, Err(alert));
    }
}

#[tokio::test]
async fn a_handshake_that_is_refused_tells_the_client_why() {
    for (session, config) in sessions() {
        let mut config = ClientConfig::clone(&config);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let (connection, mut socket) = pair(&Monitor::default());
        let mut client = client(&Arc::new(config));
        let heard = thread::spawn(move || {
            client.write_tls(&mut socket).unwrap();
            loop {
                assert!(client.read_tls(&mut socket).unwrap() > 0);
                if let Err(error) = client.process_new_packets() {
                    return error;
                }
            }
        });
        let tls = session.data(None).unwrap().connection;
        let Err(TransferError::Tls(error)) = handshake(&connection, tls).await else {
            panic!("hands were shaken");
        };
        assert_eq!(error, rustls::Error::NoApplicationProtocol);
        let alert = rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol);
        assert_eq!(heard.join().unwrap(), alert);
    }
}

/// Makes nothing more often than not.
struct Skipping(u32);

impl Produce for Skipping {
    fn produce(&mut self, out: &mut Vec<u8>) -> Result<bool, TransferError> {
        self.0 += 1;
        if self.0.is_multiple_of(3) {
            out.extend_from_slice(&self.0.to_ne_bytes().repeat(1000));
        }
        Ok(self.0 < 1000)
    }
}

#[tokio::test]
async fn what_is_sent_is_whole_though_some_is_skipped() {
    for (session, config) in sessions() {
        let (connection, tls, client) =
            shaken(&session, &config, |client| vec![records(client)]).await;
        send_secured(&connection, tls, Skipping(0)).await.unwrap();
        connection.finish().unwrap();
        let (mut all, mut skipping) = (Vec::new(), Skipping(0));
        while skipping.produce(&mut all).unwrap() {}
        assert!(client.join().unwrap().unwrap() == all);
    }
}
