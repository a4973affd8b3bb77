//! Data connections: bytes go where they cost least. In the clear nothing is copied into this process
//! (MSG_TRUNC, sendfile); inside TLS they are decrypted and dropped, or encrypted from one buffer.

use std::{
    fs::File,
    io::{self, BufRead, Write},
    net::{Shutdown, TcpStream},
    os::unix::fs::FileExt as _,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::{
    fs::sendfile,
    io::Errno,
    net::{RecvFlags, recv},
};
use rustls::{ClientConnection, StreamOwned};

use super::{Connector, Source, Wide};

/// What one system call may take.
const CHUNK: usize = 1 << 20;
/// What becomes records at one time: little enough to stay in a core's cache on the way.
pub(crate) const PIECE: usize = 128 << 10;
/// What rustls may hold back, encrypted.
pub(crate) const BUFFER_LIMIT: usize = 1 << 20;

/// An open data connection.
pub(crate) enum Data {
    /// In the clear.
    Plain(TcpStream),
    /// Inside TLS.
    Private(Box<StreamOwned<ClientConnection, Wide>>),
}

impl Data {
    pub(crate) fn plain(stream: TcpStream) -> Self {
        Self::Plain(stream)
    }

    pub(super) fn private(connector: &Connector, stream: TcpStream) -> Result<Self> {
        Ok(Self::Private(Box::new(connector.handshake(stream)?)))
    }

    /// Takes everything until the server ends the stream; returns how many bytes there were.
    pub(crate) fn discard(&mut self, sink: &mut Vec<u8>) -> Result<u64> {
        let mut total = 0;
        loop {
            let received = self.discard_some(sink)?;
            if received == 0 {
                return Ok(total);
            }
            total += received as u64;
        }
    }

    /// Sends some of `bytes` in the clear; nothing if the connection takes none for as long as its timeout says.
    pub(crate) fn send_some(&mut self, bytes: &[u8]) -> Result<usize> {
        let Self::Plain(stream) = self else {
            bail!("only plain data connections can be sent to bit by bit");
        };
        match stream.write(bytes) {
            Err(error) if idle(&error) => Ok(0),
            result => result.context("cannot upload"),
        }
    }

    /// Takes what comes within the connection's timeout.
    pub(crate) fn receive_some(&mut self, sink: &mut Vec<u8>) -> Result<usize> {
        match self.discard_some(sink) {
            Err(error) if error.downcast_ref::<Errno>() == Some(&Errno::AGAIN) => Ok(0),
            result => result,
        }
    }

    /// Takes what has come, waiting for a first byte; 0 is the end.
    fn discard_some(&mut self, sink: &mut Vec<u8>) -> Result<usize> {
        match self {
            Self::Plain(stream) => {
                sink.resize(CHUNK, 0);
                loop {
                    // tcp(7): MSG_TRUNC discards instead of copying.
                    match recv(&*stream, &mut sink[..], RecvFlags::TRUNC) {
                        Err(Errno::INTR) => {}
                        result => return Ok(result.context("cannot download")?.1),
                    }
                }
            }
            Self::Private(stream) => drop_some(stream),
        }
    }

    /// Sends all of it.
    pub(crate) fn send(&mut self, source: Source<'_>) -> Result<()> {
        match (self, source) {
            (Self::Plain(stream), Source::File(file, len)) => send_file(stream, file, len),
            (Self::Plain(stream), Source::Memory(bytes)) => {
                stream.write_all(bytes).context("cannot upload")
            }
            (Self::Private(stream), Source::Memory(bytes)) => {
                stream.write_all(bytes).context("cannot upload")
            }
            (Self::Private(stream), Source::File(file, len)) => send_copied(stream, file, len),
        }
    }

    /// Says that nothing more comes, and closes.
    pub(super) fn end(self) -> Result<()> {
        match self {
            Self::Plain(stream) => Ok(stream.shutdown(Shutdown::Write)?),
            Self::Private(mut stream) => {
                stream.conn.send_close_notify();
                stream.flush().context("cannot end TLS")?;
                stream.sock.socket().shutdown(Shutdown::Write)?;
                // A close with session tickets unread would be a reset, and the server's last read an error.
                io::copy(&mut stream.sock, &mut io::sink())
                    .map(drop)
                    .context("the server does not end its side")
            }
        }
    }
}

/// Throws away what has come inside TLS, waiting for a first byte; 0 is the end.
pub(crate) fn drop_some(stream: &mut (impl BufRead + ?Sized)) -> Result<usize> {
    let received = match stream.fill_buf() {
        Ok(bytes) => bytes.len(),
        // A server that ends without close_notify; the caller knows what length is right.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
        Err(error) => return Err(error).context("cannot download"),
    };
    stream.consume(received);
    Ok(received)
}

/// Sends a file's first bytes by way of a buffer, into TLS.
pub(crate) fn send_copied(stream: &mut (impl Write + ?Sized), file: &File, len: u64) -> Result<()> {
    // By offset: streams share the file.
    let mut buffer = vec![0; PIECE];
    let mut offset = 0;
    while offset < len {
        let most = usize::try_from(len - offset).unwrap_or(PIECE).min(PIECE);
        let read = file.read_at(&mut buffer[..most], offset)?;
        ensure!(read > 0, "the file shrank");
        stream.write_all(&buffer[..read]).context("cannot upload")?;
        offset += read as u64;
    }
    stream.flush().context("cannot upload")
}

fn idle(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

fn send_file(stream: &TcpStream, file: &File, len: u64) -> Result<()> {
    let mut offset = 0;
    while offset < len {
        let chunk = usize::try_from(len - offset).unwrap_or(CHUNK).min(CHUNK);
        match sendfile(stream, file, Some(&mut offset), chunk) {
            Ok(0) => bail!("the file shrank"),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot upload"),
        }
    }
    Ok(())
}
