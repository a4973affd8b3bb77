//! An FTP client that costs as little as can be, so that what is measured is the server; the same one for
//! every contestant. It checks every reply's code and nothing else. Data connections are in `data`.

mod data;
mod tls;

use std::{
    io::{ErrorKind, Read, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustls::{ClientConnection, StreamOwned};

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

    /// Sends a command line and returns how long its reply took.
    pub(crate) fn timed(&mut self, line: &str, code: u16) -> Result<Duration> {
        let start = Instant::now();
        self.expect(line, code)?;
        Ok(start.elapsed())
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

/// The code and the length of the first reply, once its last line is there.
fn first_reply(heard: &[u8]) -> Option<(u16, usize)> {
    let mut len = 0;
    for line in heard.split_inclusive(|byte| *byte == b'\n') {
        len += line.len();
        if line.ends_with(b"\r\n") && line.get(3) == Some(&b' ') {
            let code = std::str::from_utf8(line.get(..3)?).ok()?;
            if let Ok(code) = code.parse() {
                return Some((code, len));
            }
        }
    }
    None
}

fn parse_227(heard: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(heard).ok()?;
    let inside = text.split_once('(')?.1.split_once(')')?.0;
    let numbers: Vec<u8> = inside
        .split(',')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    let [a, b, c, d, high, low] = numbers[..] else {
        return None;
    };
    Some(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_complete_with_its_last_line() {
        assert_eq!(first_reply(b"220 Hello.\r\n"), Some((220, 12)));
        assert_eq!(first_reply(b"220 Hel"), None);
        assert_eq!(first_reply(b"211-Features:\r\n PASV\r\n"), None);
        assert_eq!(
            first_reply(b"211-Features:\r\n PASV\r\n211 End\r\n"),
            Some((211, 31))
        );
    }

    #[test]
    fn what_came_with_a_reply_is_the_next_one() {
        let (one, two) = (b"150 Go.\r\n", b"226 Done.\r\n");
        let both = [&one[..], &two[..]].concat();
        assert_eq!(first_reply(&both), Some((150, one.len())));
        assert_eq!(first_reply(&both[one.len()..]), Some((226, two.len())));
    }

    #[test]
    fn passive_replies_are_read() {
        let address = parse_227(b"227 Entering Passive Mode (127,0,0,1,117,49).\r\n");
        assert_eq!(address, Some("127.0.0.1:30001".parse().unwrap()));
        assert_eq!(parse_227(b"227 nonsense\r\n"), None);
    }
}
