//! An FTP client that costs as little as can be, so that what is measured is the server; the same one for
//! every contestant. It checks every reply's code and nothing else. Data connections are in `data`.

mod data;
mod reply;
mod tls;

use std::{
    io::{ErrorKind, Read, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustls::{ClientConnection, StreamOwned};

use self::reply::{first_reply, parse_227};
pub(crate) use self::{
    data::{BUFFER_LIMIT, Data, PIECE, drop_some, send_copied},
    tls::{Connector, Wide, provider},
};

/// How long a server may be silent.
const PATIENCE: Duration = Duration::from_secs(10);

/// A control connection. Call everything on a thread inside the client's namespace.
pub(crate) struct Client {
    control: Control,
    /// With it, data connections are private (RFC 4217, PROT P).
    tls: Option<Connector>,
    /// What was heard; the first `taken` bytes are the last reply.
    buffer: Vec<u8>,
    taken: usize,
    sink: Vec<u8>,
}

enum Control {
    Plain(TcpStream),
    Private(Box<StreamOwned<ClientConnection, Wide>>),
}

/// Who logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: &'static str,
    pub(crate) password: &'static str,
}

/// RFC 1635.
pub(crate) const ANONYMOUS: Account = Account {
    name: "anonymous",
    password: "bench@example.com",
};

impl Client {
    /// Connects, with a connector by AUTH TLS and PROT P, logs in, and asks for binary mode.
    pub(crate) fn login(
        server: SocketAddr,
        account: Account,
        tls: Option<&Connector>,
    ) -> Result<Self> {
        let mut client = Self::connect(server)?;
        if let Some(connector) = tls {
            client.secure(connector)?;
        }
        client.authenticate(account)?;
        if client.tls.is_some() {
            client.expect("PBSZ 0\r\n", 200)?;
            client.expect("PROT P\r\n", 200)?;
        }
        client.expect("TYPE I\r\n", 200)?;
        Ok(client)
    }

    /// Connects and hears the greeting.
    pub(crate) fn connect(server: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&server, PATIENCE)
            .with_context(|| format!("no control connection to {server}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut client = Self {
            control: Control::Plain(stream),
            tls: None,
            buffer: Vec::new(),
            taken: 0,
            sink: Vec::new(),
        };
        client.reply(220)?;
        Ok(client)
    }

    /// Logs in on a connection that has heard the greeting.
    pub(crate) fn authenticate(&mut self, account: Account) -> Result<()> {
        if self.command(&format!("USER {}\r\n", account.name))? != 230 {
            self.expect(&format!("PASS {}\r\n", account.password), 230)?;
        }
        Ok(())
    }

    fn secure(&mut self, connector: &Connector) -> Result<()> {
        self.expect("AUTH TLS\r\n", 234)?;
        let Control::Plain(stream) = &self.control else {
            bail!("the control connection is private already");
        };
        let stream = connector.handshake(stream.try_clone()?)?;
        self.control = Control::Private(Box::new(stream));
        self.tls = Some(connector.clone());
        Ok(())
    }

    /// Sends a command line and returns how long its reply took; nothing if that is 425, the one
    /// refusal with which a server may answer a command that is right.
    pub(crate) fn timed(&mut self, line: &str, code: u16) -> Result<Option<Duration>> {
        let start = Instant::now();
        let heard = self.command(line)?;
        let took = start.elapsed();
        ensure!(
            heard == code || heard == 425,
            "{} answered with {}",
            line.trim_end(),
            self.heard()
        );
        Ok((heard == code).then_some(took))
    }

    /// Downloads, throws the bytes away, and returns how many there were and the time from sending
    /// the command (the data connection is open by then) to hearing its 226. `line` is `RETR name`,
    /// `LIST`, `MLSD`.
    pub(crate) fn fetch(&mut self, line: &str) -> Result<(u64, Duration)> {
        let stream = self.passive()?;
        let start = Instant::now();
        let mut data = self.begin(line, stream)?;
        let total = data.discard(&mut self.sink)?;
        // ProFTPD does not say 226 before the client has closed.
        drop(data);
        self.finish()?;
        Ok((total, start.elapsed()))
    }

    /// Uploads `bytes` and returns the time from sending STOR to hearing its 226.
    pub(crate) fn store(&mut self, name: &str, source: Source<'_>) -> Result<Duration> {
        let stream = self.passive()?;
        let start = Instant::now();
        let mut data = self.begin(&format!("STOR {name}\r\n"), stream)?;
        data.send(source)?;
        data.end()?;
        self.finish()?;
        Ok(start.elapsed())
    }

    /// Negotiates a data port and connects to it.
    pub(crate) fn passive(&mut self) -> Result<TcpStream> {
        self.expect("PASV\r\n", 227)?;
        let address =
            parse_227(&self.buffer[..self.taken]).context("cannot read the reply to PASV")?;
        let data = TcpStream::connect_timeout(&address, PATIENCE)
            .with_context(|| format!("no data connection to {address}"))?;
        data.set_read_timeout(Some(PATIENCE))?;
        data.set_write_timeout(Some(PATIENCE))?;
        data.set_nodelay(true)?;
        Ok(data)
    }

    /// Sends a transfer command for an open data connection; when this returns, bytes may flow.
    pub(crate) fn begin(&mut self, line: &str, stream: TcpStream) -> Result<Data> {
        let heard = self.command(line)?;
        ensure!(
            heard == 150 || heard == 125,
            "{} answered with {}",
            line.trim_end(),
            self.heard()
        );
        match &self.tls {
            Some(connector) => Data::private(connector, stream),
            None => Ok(Data::plain(stream)),
        }
    }

    /// Hears that a transfer is complete.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let heard = self.hear().context("the end of the transfer")?;
        ensure!(
            heard == 226 || heard == 250,
            "the transfer ended with {}",
            self.heard()
        );
        Ok(())
    }

    /// Ends the session and waits until the server has closed it.
    pub(crate) fn quit(mut self) -> Result<()> {
        self.expect("QUIT\r\n", 221)
    }

    /// Sends a command and demands a reply code.
    pub(crate) fn expect(&mut self, line: &str, code: u16) -> Result<()> {
        let heard = self.command(line)?;
        ensure!(
            heard == code,
            "{} answered with {}",
            line.trim_end(),
            self.heard()
        );
        Ok(())
    }

    /// Sends a command and returns the code of its reply.
    pub(crate) fn command(&mut self, line: &str) -> Result<u16> {
        let sent = match &mut self.control {
            Control::Plain(stream) => stream.write_all(line.as_bytes()),
            Control::Private(stream) => stream
                .write_all(line.as_bytes())
                .and_then(|()| stream.flush()),
        };
        sent.context("cannot send a command")?;
        let word = line.split_whitespace().next().unwrap_or_default();
        self.hear().with_context(|| word.to_owned())
    }

    fn reply(&mut self, code: u16) -> Result<()> {
        let heard = self.hear()?;
        ensure!(heard == code, "expected {code}, heard {}", self.heard());
        Ok(())
    }

    /// Reads one reply of one line or more (RFC 959, section 4.2) and returns its code. What came with it is
    /// the next reply's: 150 and 226 may come in one segment.
    fn hear(&mut self) -> Result<u16> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        loop {
            if let Some((code, len)) = first_reply(&self.buffer) {
                self.taken = len;
                return Ok(code);
            }
            let mut chunk = [0; 1024];
            let read = match &mut self.control {
                Control::Plain(stream) => stream.read(&mut chunk),
                Control::Private(stream) => stream.read(&mut chunk),
            };
            let read = match read {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    bail!("no reply within {PATIENCE:?}")
                }
                result => result.context("cannot read a reply")?,
            };
            if read == 0 {
                bail!(
                    "the server closed the control connection after {:?}",
                    String::from_utf8_lossy(&self.buffer)
                );
            }
            self.buffer.extend_from_slice(&chunk[..read]);
        }
    }

    fn heard(&self) -> String {
        String::from_utf8_lossy(&self.buffer[..self.taken])
            .trim_end()
            .to_owned()
    }
}

/// What is uploaded.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// A file's first bytes, without copying them through this process where nothing is encrypted.
    File(&'a std::fs::File, u64),
    /// These bytes.
    Memory(&'a [u8]),
}
