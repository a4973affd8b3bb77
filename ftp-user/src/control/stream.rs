//! The control connection's stream, in the clear or inside TLS, and the ways between them.

use super::ControlError;
use rustls::{ServerConfig, ServerConnection};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A record's type, version and length (RFC 8446 §5.1).
const HEADER: usize = 5;
/// The most that may follow it (RFC 5246 §6.2.3).
const MOST_IN_RECORD: usize = (1 << 14) + 2048;
/// Record types that TLS has: change_cipher_spec to application_data. No command starts so.
const RECORD_TYPES: std::ops::RangeInclusive<u8> = 20..=23;

/// Clear or TLS.
#[derive(Debug)]
pub(super) enum Stream<S> {
    Clear(S),
    /// On the heap: who stays in the clear does not pay for it.
    Tls(Box<TlsStream<Records<S>>>),
    /// A handshake failed, or was given up, and took the stream with it.
    Lost,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream<S> {
    /// The handshake of AUTH TLS.
    pub(super) async fn into_tls(
        self,
        config: Arc<ServerConfig>,
    ) -> Result<Stream<S>, ControlError> {
        match self {
            Stream::Clear(stream) => {
                let accepted = TlsAcceptor::from(config).accept(Records::new(stream)).await;
                Ok(Stream::Tls(Box::new(accepted.map_err(ControlError::Tls)?)))
            }
            stream @ Stream::Tls(_) => Ok(stream),
            Stream::Lost => Err(ControlError::Closed),
        }
    }

    pub(super) fn server_name(&self) -> Option<&str> {
        match self {
            Stream::Tls(stream) => stream.get_ref().1.server_name(),
            Stream::Clear(_) | Stream::Lost => None,
        }
    }

    /// CCC: both ends close TLS, and the socket stays. Returns the bytes of the clear that were read
    /// on the way as well: some clients do not answer a close_notify but go on with a command.
    pub(super) async fn into_clear(self) -> Result<(Stream<S>, Vec<u8>), ControlError> {
        let tls = match self {
            Stream::Tls(tls) => tls,
            stream @ Stream::Clear(_) => return Ok((stream, Vec::new())),
            Stream::Lost => return Err(ControlError::Closed),
        };
        let (records, mut tls) = tls.into_inner();
        if !records.at_boundary() {
            return Err(ControlError::SpokeOn);
        }
        let mut stream = records.inner;
        tls.send_close_notify();
        let mut closing = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut closing)?;
        }
        stream.write_all(&closing).await?;
        stream.flush().await?;
        while !is_closed(&mut tls)? {
            let kind = stream.read_u8().await?;
            if !RECORD_TYPES.contains(&kind) {
                return Ok((Stream::Clear(stream), vec![kind]));
            }
            let mut record = vec![kind, 0, 0, 0, 0];
            let header = record.get_mut(1..).unwrap_or_default();
            stream.read_exact(header).await?;
            let length = length_of(&record);
            if length > MOST_IN_RECORD {
                return Err(ControlError::SpokeOn);
            }
            record.resize(HEADER + length, 0);
            let body = record.get_mut(HEADER..).unwrap_or_default();
            stream.read_exact(body).await?;
            let mut left = &record[..];
            while !left.is_empty() && tls.read_tls(&mut left)? > 0 {
                if is_closed(&mut tls)? {
                    break;
                }
            }
        }
        Ok((Stream::Clear(stream), Vec::new()))
    }
}

/// Has the client sent its close_notify? Nothing else is expected of it.
fn is_closed(tls: &mut ServerConnection) -> Result<bool, ControlError> {
    let state = tls
        .process_new_packets()
        .map_err(|error| ControlError::Tls(io::Error::other(error)))?;
    if state.plaintext_bytes_to_read() > 0 {
        return Err(ControlError::SpokeOn);
    }
    Ok(state.peer_has_closed())
}

fn length_of(header: &[u8]) -> usize {
    match header {
        [_, _, _, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
        _ => 0,
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Clear(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Lost => Poll::Ready(Ok(())),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Clear(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Lost => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Clear(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Lost => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Clear(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Lost => Poll::Ready(Ok(())),
        }
    }
}

/// Gives TLS one record at a time, so that what follows the last one, after CCC, is still in the
/// socket: rustls drops what comes behind a close_notify.
#[derive(Debug)]
pub(super) struct Records<S> {
    inner: S,
    header: [u8; HEADER],
    /// How much of the header is there.
    have: usize,
    /// How much of the record is still to come.
    left: usize,
}

impl<S> Records<S> {
    fn new(inner: S) -> Records<S> {
        Records {
            inner,
            header: [0; HEADER],
            have: 0,
            left: 0,
        }
    }

    fn at_boundary(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    fn passed(&mut self, bytes: &[u8]) {
        if self.left > 0 {
            self.left = self.left.saturating_sub(bytes.len());
            return;
        }
        for (into, &byte) in self.header.iter_mut().skip(self.have).zip(bytes) {
            *into = byte;
        }
        self.have += bytes.len();
        if self.have >= HEADER {
            self.have = 0;
            self.left = length_of(&self.header);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Records<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let records = self.get_mut();
        let most = match records.left {
            0 => HEADER - records.have,
            left => left,
        };
        let most = most.min(buffer.remaining());
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(most));
        ready!(Pin::new(&mut records.inner).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        records.passed(part.filled());
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Records<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, bytes)
    }

    /// A failed handshake is written once: pieces by themselves would leave its alert behind.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
