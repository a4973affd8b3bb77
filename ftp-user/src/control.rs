//! The control connection: bytes in both directions, lines in, replies out, each bounded in size
//! and time. What the lines mean is the session's business.
//!
//! Generic over the stream, and the stream may change under it: into TLS and out of it.

mod socket;
mod stream;

use crate::proto::Reply;
use crate::proto::line::{LineError, LineSplitter};
use rustls::ServerConfig;
pub use socket::ControlSocket;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use stream::Stream;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// Most bytes taken from the socket at a time. They lie on the stack until a line's end is seen.
const READ_CHUNK: usize = 2048;

/// Why the control connection is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The client closed it.
    #[error("the client closed the control connection")]
    Closed,
    /// The socket failed.
    #[error("control connection: {0}")]
    Io(#[from] io::Error),
    /// A handshake failed, or TLS did later.
    #[error("control connection: TLS: {0}")]
    Tls(io::Error),
    /// A handshake was not over in time.
    #[error("control connection: no TLS handshake within the time for a login")]
    HandshakeTimeout,
    /// The client had more to say where TLS was to end.
    #[error("control connection: the client sent more inside TLS after CCC")]
    SpokeOn,
    /// The client does not wait for replies, and what it says has to be kept until a transfer is over.
    #[error("control connection: more commands during a transfer than are kept until its end")]
    Flooded,
    /// The client does not read its replies.
    #[error("control connection: a reply could not be sent within {}s", .0.as_secs())]
    WriteTimeout(Duration),
}

/// One control connection.
#[derive(Debug)]
pub struct Control<S> {
    stream: Stream<S>,
    splitter: LineSplitter,
    /// Bytes read behind the last line's end: at most one chunk, empty while the client waits.
    ahead: Vec<u8>,
    /// Replies that leave with the next one.
    held: Vec<u8>,
    write_timeout: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Control<S> {
    /// Takes over a connected stream.
    pub fn new(stream: S, write_timeout: Duration) -> Control<S> {
        Control {
            stream: Stream::Clear(stream),
            splitter: LineSplitter::default(),
            ahead: Vec::new(),
            held: Vec::new(),
            write_timeout,
        }
    }

    /// The next line, without its end; `Err` inside says why that line is refused. Cancel-safe:
    /// what was read stays here.
    pub async fn next_line(&mut self) -> Result<Result<Vec<u8>, LineError>, ControlError> {
        poll_fn(|cx| self.poll_line(cx)).await
    }

    fn poll_line(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Result<Vec<u8>, LineError>, ControlError>> {
        if !self.ahead.is_empty() {
            let (taken, line) = self.splitter.feed(&self.ahead);
            self.ahead.drain(..taken);
            if self.ahead.is_empty() {
                self.ahead = Vec::new();
            }
            if let Some(line) = line {
                return Poll::Ready(Ok(line));
            }
        }
        // The buffer is part of no future, so an idle session does not pay for it.
        let mut chunk = [MaybeUninit::uninit(); READ_CHUNK];
        loop {
            let mut read = ReadBuf::uninit(&mut chunk);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
            let bytes = read.filled();
            if bytes.is_empty() {
                return Poll::Ready(Err(ControlError::Closed));
            }
            let (taken, line) = self.splitter.feed(bytes);
            if let Some(line) = line {
                self.ahead
                    .extend_from_slice(bytes.get(taken..).unwrap_or_default());
                return Poll::Ready(Ok(line));
            }
        }
    }

    /// Sends a reply, whole, after those that are held, or fails.
    pub async fn send(&mut self, reply: &Reply) -> Result<(), ControlError> {
        self.hold(reply);
        self.release().await
    }

    /// Keeps a reply until the next one is sent, or until `release`: the client is woken once.
    pub fn hold(&mut self, reply: &Reply) {
        self.held.append(&mut self.splitter.refusals());
        self.held.reserve(80);
        reply.encode(&mut self.held);
    }

    /// Sends the replies that are held, if any, whole, or fails.
    pub async fn release(&mut self) -> Result<(), ControlError> {
        let bytes = std::mem::take(&mut self.held);
        if bytes.is_empty() {
            return Ok(());
        }
        let write = async {
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await
        };
        match tokio::time::timeout(self.write_timeout, write).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(ControlError::WriteTimeout(self.write_timeout)),
        }
    }

    /// Goes on inside TLS. What the client sent before its handshake is thrown away: it was in the
    /// clear, and may be anybody's (the STARTTLS injection). If this fails or is dropped half way,
    /// the connection is lost.
    pub async fn secure(&mut self, config: Arc<ServerConfig>) -> Result<(), ControlError> {
        self.forget();
        let stream = std::mem::replace(&mut self.stream, Stream::Lost);
        self.stream = stream.into_tls(config).await?;
        Ok(())
    }

    /// The host that the client has named in its handshake (SNI), in lower case.
    pub fn server_name(&self) -> Option<&str> {
        self.stream.server_name()
    }

    /// Ends TLS and goes on in the clear. If this fails or is dropped half way, the connection is
    /// lost.
    pub async fn clear(&mut self) -> Result<(), ControlError> {
        if !self.ahead.is_empty() || self.splitter.is_partial() {
            return Err(ControlError::SpokeOn);
        }
        let stream = std::mem::replace(&mut self.stream, Stream::Lost);
        let cleared = tokio::time::timeout(self.write_timeout, stream.into_clear()).await;
        (self.stream, self.ahead) =
            cleared.map_err(|_| ControlError::WriteTimeout(self.write_timeout))??;
        Ok(())
    }

    fn forget(&mut self) {
        if !self.ahead.is_empty() || self.splitter.is_partial() {
            tracing::warn!("bytes in the clear behind AUTH are thrown away");
        }
        self.ahead = Vec::new();
        self.splitter = LineSplitter::default();
    }

    /// Ends the sending side, so that the last reply arrives before the close.
    pub async fn close(mut self) {
        // The client may be gone already; there is nobody to tell.
        let _ = tokio::time::timeout(self.write_timeout, self.stream.shutdown()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Code;
    use tokio::io::AsyncReadExt;

    const SOON: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn lines_that_come_together_are_told_apart() {
        let (mut client, server) = tokio::io::duplex(64);
        let mut control = Control::new(server, SOON);
        client.write_all(b"USER a\r\nPASS b\r\nNO").await.unwrap();
        assert_eq!(control.next_line().await.unwrap().unwrap(), b"USER a");
        assert_eq!(control.next_line().await.unwrap().unwrap(), b"PASS b");
        // A wait that is given up loses nothing.
        let waited = tokio::time::timeout(Duration::ZERO, control.next_line()).await;
        assert!(waited.is_err());
        client.write_all(b"OP\r\n").await.unwrap();
        assert_eq!(control.next_line().await.unwrap().unwrap(), b"NOOP");
        drop(client);
        assert!(matches!(
            control.next_line().await,
            Err(ControlError::Closed)
        ));
    }

    #[tokio::test]
    async fn a_client_that_never_ends_its_line_costs_no_memory() {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let mut control = Control::new(server, SOON);
        let feed = tokio::spawn(async move {
            for _ in 0..64 {
                client.write_all(&[b'x'; 1 << 14]).await.unwrap();
            }
            client.write_all(b"\r\nNOOP\r\n").await.unwrap();
            client
        });
        assert_eq!(control.next_line().await.unwrap(), Err(LineError::TooLong));
        assert!(control.ahead.capacity() <= READ_CHUNK);
        assert_eq!(control.next_line().await.unwrap().unwrap(), b"NOOP");
        assert_eq!(control.ahead.capacity(), 0);
        drop(feed.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_given_up() {
        let (_client, server) = tokio::io::duplex(8);
        let mut control = Control::new(server, SOON);
        let sent = control
            .send(&Reply::new(Code::Okay, "Longer than eight bytes."))
            .await;
        assert!(matches!(sent, Err(ControlError::WriteTimeout(_))));
    }

    #[tokio::test]
    async fn replies_arrive_whole_and_in_order() {
        let (mut client, server) = tokio::io::duplex(256);
        let mut control = Control::new(server, SOON);
        control.release().await.unwrap();
        control.hold(&Reply::new(Code::OpeningData, "Here it comes."));
        control
            .send(&Reply::new(Code::Okay, "Fine."))
            .await
            .unwrap();
        control.close().await;
        let mut got = String::new();
        client.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "150 Here it comes.\r\n200 Fine.\r\n");
    }

    #[tokio::test]
    async fn options_are_refused_before_the_next_reply() {
        let (mut client, server) = tokio::io::duplex(256);
        let mut control = Control::new(server, SOON);
        client
            .write_all(b"\xff\xfd\x03NO\xff\xfb\x01OP\r\n")
            .await
            .unwrap();
        assert_eq!(control.next_line().await.unwrap().unwrap(), b"NOOP");
        for _ in 0..2 {
            let reply = Reply::new(Code::Okay, "Okay.");
            control.send(&reply).await.unwrap();
        }
        control.close().await;
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        let refusals = b"\xff\xfc\x03\xff\xfe\x01";
        let replies = b"200 Okay.\r\n200 Okay.\r\n";
        assert_eq!(got, [&refusals[..], replies].concat());
    }

    #[tokio::test]
    async fn what_is_held_leaves_when_it_is_released() {
        let (mut client, server) = tokio::io::duplex(256);
        let mut control = Control::new(server, SOON);
        let mut got = [0; 64];
        control.hold(&Reply::new(Code::OpeningData, "Here it comes."));
        let early = tokio::time::timeout(Duration::ZERO, client.read(&mut got)).await;
        assert!(early.is_err());
        control.release().await.unwrap();
        let length = client.read(&mut got).await.unwrap();
        assert_eq!(&got[..length], b"150 Here it comes.\r\n");
    }
}
