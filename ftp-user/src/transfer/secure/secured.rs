//! A data connection's side of TLS: rustls decides what is said, the bytes wait here.
//!
//! By rustls's unbuffered API: its other one takes in 4 KiB at a time and copies every byte once more
//! on the way in.

use super::super::connection::Link;
use super::super::error::TransferError;
use super::super::step::Moved;
use super::buffer::Buffer;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, UnbufferedStatus, WriteTraffic};
use rustls::{Error, HandshakeKind, ProtocolVersion};

/// What a record carries at most (RFC 8446 §5.1) ...
const FRAGMENT: usize = 1 << 14;
/// ... and takes at most: RFC 5246 §6.2.3 allows TLS 1.2 more than TLS 1.3 may have.
const RECORD: usize = 5 + FRAGMENT + 2048;

/// A data connection inside TLS.
pub struct Secured {
    tls: Box<UnbufferedServerConnection>,
    /// What came over the socket, from the first record on that is not whole yet.
    received: Buffer,
    /// What the client has sent and nobody has taken yet.
    pub(super) plain: Vec<u8>,
    /// Records that are to go over the socket.
    unsent: Buffer,
    ended: bool,
}

impl Secured {
    /// Before the handshake.
    pub(super) fn new(tls: Box<UnbufferedServerConnection>) -> Secured {
        Secured {
            tls,
            received: Buffer::default(),
            plain: Vec::new(),
            unsent: Buffer::default(),
            ended: false,
        }
    }

    /// How hands were shaken, once they are.
    pub fn handshake_kind(&self) -> Option<HandshakeKind> {
        self.tls.handshake_kind()
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    pub(super) fn version(&self) -> Option<ProtocolVersion> {
        self.tls.protocol_version()
    }

    /// Whether the client has said that this was all.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// How many bytes of records wait for [`Secured::write`].
    pub(super) fn unsent(&self) -> usize {
        self.unsent.len()
    }

    /// One recv(2) of `most` bytes at the most, and what comes of it.
    pub(super) fn read(&mut self, link: &Link, most: usize) -> Result<Moved, TransferError> {
        let room = self.received.room(most);
        let read = match rustix::net::recv(&link.socket, room, RecvFlags::empty()) {
            Ok((0, _)) => return Ok(Moved::End),
            Ok((read, _)) => read,
            Err(Errno::AGAIN) => return Ok(Moved::Blocked),
            Err(Errno::INTR) => return Ok(Moved::Some(0)),
            Err(error) => return Err(TransferError::Connection(error.into())),
        };
        self.received.add(read);
        match self.settle() {
            Ok(()) => Ok(Moved::Some(read as u64)),
            Err(error) => {
                self.alert(link);
                Err(error.into())
            }
        }
    }

    /// Tells a client that listens what is wrong. The error is the news; this is a courtesy.
    fn alert(&mut self, link: &Link) {
        // No further than that: after a fatal alert rustls must not see another record.
        while self.tls.wants_write() && matches!(self.follow(), Ok(true)) {}
        let _ = self.write(link);
    }

    /// One send(2) of what waits.
    pub(super) fn write(&mut self, link: &Link) -> Result<Moved, TransferError> {
        let most = link.portion(self.unsent.len());
        let bytes = self.unsent.bytes().get(..most).unwrap_or_default();
        match rustix::net::send(&link.socket, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => {
                self.unsent.remove(sent);
                Ok(Moved::Some(sent as u64))
            }
            Err(Errno::AGAIN) => Ok(Moved::Blocked),
            Err(Errno::INTR) => Ok(Moved::Some(0)),
            Err(error) => Err(TransferError::Connection(error.into())),
        }
    }

    /// Makes records of `plain`, to be written.
    pub(super) fn encrypt(&mut self, plain: &[u8]) -> Result<(), TransferError> {
        self.settle()?;
        let room = self.unsent.room(plain.len().div_ceil(FRAGMENT) * RECORD);
        let made = speak(&mut self.tls, &mut self.received)?.encrypt(plain, room);
        self.unsent.add(made.map_err(general)?);
        Ok(())
    }

    /// Says that this was all, with the next write.
    pub(super) fn end(&mut self) -> Result<(), TransferError> {
        self.settle()?;
        let room = self.unsent.room(RECORD);
        let made = speak(&mut self.tls, &mut self.received)?.queue_close_notify(room);
        self.unsent.add(made.map_err(general)?);
        Ok(())
    }

    /// Follows rustls until it waits for the client or for us.
    fn settle(&mut self) -> Result<(), Error> {
        while self.follow()? {}
        Ok(())
    }

    /// Does what rustls wants next; false if it waits.
    fn follow(&mut self) -> Result<bool, Error> {
        let UnbufferedStatus { mut discard, state } =
            self.tls.process_tls_records(self.received.bytes());
        let goes_on = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    self.plain.extend_from_slice(record.payload);
                }
                Ok(true)
            }
            Ok(ConnectionState::EncodeTlsData(mut record)) => {
                let made = record.encode(self.unsent.room(RECORD)).map_err(general)?;
                self.unsent.add(made);
                Ok(true)
            }
            // What is unsent goes out in order, whatever joins it.
            Ok(ConnectionState::TransmitTlsData(unsent)) => {
                unsent.done();
                Ok(true)
            }
            Ok(ConnectionState::PeerClosed) => {
                self.ended = true;
                Ok(true)
            }
            Ok(
                ConnectionState::BlockedHandshake
                | ConnectionState::WriteTraffic(_)
                | ConnectionState::Closed,
            ) => Ok(false),
            Ok(_) => Err(Error::General("early data was never offered".into())),
            Err(error) => Err(error),
        };
        self.received.remove(discard);
        goes_on
    }
}

/// Takes the word, once rustls has nothing to say itself.
fn speak<'a>(
    tls: &'a mut UnbufferedServerConnection,
    received: &'a mut Buffer,
) -> Result<WriteTraffic<'a, ServerConnectionData>, Error> {
    let status = tls.process_tls_records(received.bytes());
    let ConnectionState::WriteTraffic(traffic) = status.state? else {
        return Err(Error::HandshakeNotComplete);
    };
    Ok(traffic)
}

/// Of what cannot be: there is always room for a record.
fn general(error: impl std::error::Error) -> Error {
    Error::General(error.to_string())
}
