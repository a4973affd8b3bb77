//! A scripted FTP client: every byte it sends is the test's own, so it can say what no real
//! client says. It enters the client's namespace for each connection it makes.

mod address;
mod connect;
mod transfer;

use std::{
    io::{BufRead, BufReader, ErrorKind, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

pub use self::{
    address::{eprt_argument, port_argument},
    connect::{connect, connect_from},
};
use crate::namespace::NetNs;

/// A server's reply: its code, and its lines as they came, without their ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The three digits.
    pub code: u16,
    /// Every line, the first with its code.
    pub lines: Vec<Vec<u8>>,
}

impl Reply {
    /// The lines as text.
    pub fn text(&self) -> String {
        let lines: Vec<_> = self
            .lines
            .iter()
            .map(|line| String::from_utf8_lossy(line))
            .collect();
        lines.join("\n")
    }
}

/// A control connection.
#[derive(Debug)]
pub struct Control {
    stream: BufReader<TcpStream>,
    namespace: NetNs,
    from: IpAddr,
    server: SocketAddr,
    transcript: Vec<String>,
}

impl Control {
    /// Connects from address `from` of `namespace` and hears the greeting.
    pub fn open(namespace: &NetNs, from: IpAddr, server: SocketAddr) -> Result<Control> {
        let stream = connect(namespace, from, server)
            .with_context(|| format!("no control connection from {from} to {server}"))?;
        let mut control = Control {
            stream: BufReader::new(stream),
            namespace: namespace.clone(),
            from,
            server,
            transcript: Vec::new(),
        };
        let greeting = control.reply()?;
        ensure!(greeting.code == 220, "greeted with {}", greeting.text());
        Ok(control)
    }

    /// Connects and logs in as the anonymous user, ready for binary transfers.
    pub fn anonymous(namespace: &NetNs, from: IpAddr, server: SocketAddr) -> Result<Control> {
        Control::logged_in(namespace, from, server, "anonymous", "test@example.com")
    }

    /// Connects and logs in with a password, ready for binary transfers.
    pub fn logged_in(
        namespace: &NetNs,
        from: IpAddr,
        server: SocketAddr,
        user: &str,
        password: &str,
    ) -> Result<Control> {
        let mut control = Control::open(namespace, from, server)?;
        if control.command(&format!("USER {user}"))?.code == 331 {
            control.expect(&format!("PASS {password}"), 230)?;
        }
        control.expect("TYPE I", 200)?;
        Ok(control)
    }

    /// The address it comes from, and its port.
    pub fn local(&self) -> Result<SocketAddr> {
        Ok(self.stream.get_ref().local_addr()?)
    }

    /// Sends a line and hears the reply.
    pub fn command(&mut self, line: &str) -> Result<Reply> {
        self.send(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }

    /// Sends a line; the reply must have this code.
    pub fn expect(&mut self, line: &str, code: u16) -> Result<Reply> {
        self.send(format!("{line}\r\n").as_bytes())?;
        self.expect_reply(code)
    }

    /// The next reply must have this code.
    pub fn expect_reply(&mut self, code: u16) -> Result<Reply> {
        let reply = self.reply()?;
        ensure!(
            reply.code == code,
            "expected {code}; the session went:\n{}",
            self.transcript()
        );
        Ok(reply)
    }

    /// The next reply must say that a transfer begins: 150, or 125 where the server saw the data
    /// connection before it answered (RFC 959, section 5.4).
    pub fn expect_transfer(&mut self) -> Result<()> {
        let reply = self.reply()?;
        ensure!(
            matches!(reply.code, 125 | 150),
            "expected 125 or 150; the session went:\n{}",
            self.transcript()
        );
        Ok(())
    }

    /// Sends each line and fails with all that were answered otherwise.
    pub fn ensure_codes(&mut self, table: &[(&[u8], u16)]) -> Result<()> {
        let mut wrong = Vec::new();
        for (line, code) in table {
            self.send(&[line, &b"\r\n"[..]].concat())?;
            let reply = self.reply()?;
            if reply.code != *code {
                let line: String = line.escape_ascii().take(80).map(char::from).collect();
                wrong.push(format!("{line}: {} instead of {code}", reply.text()));
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        self.expect("NOOP", 200).map(drop)
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.transcript.push(format!("> {}", shown(bytes)));
        self.stream
            .get_mut()
            .write_all(bytes)
            .with_context(|| format!("cannot send; the session went:\n{}", self.transcript()))
    }

    /// Sends bytes the last of which is urgent (TCP's, RFC 6093).
    pub fn send_urgent(&mut self, bytes: &[u8]) -> Result<()> {
        self.transcript.push(format!("> (urgent) {}", shown(bytes)));
        let sent = socket2::SockRef::from(self.stream.get_ref()).send_out_of_band(bytes)?;
        ensure!(sent == bytes.len(), "only {sent} urgent bytes were sent");
        Ok(())
    }

    /// Hears one reply, of one line or more (RFC 959, section 4.2).
    pub fn reply(&mut self) -> Result<Reply> {
        match self.next_reply()? {
            Some(reply) => Ok(reply),
            None => bail!(
                "the server closed the connection; the session went:\n{}",
                self.transcript()
            ),
        }
    }

    /// Whether the server has said nothing that was not heard yet, and has not hung up.
    pub fn is_silent(&mut self) -> Result<bool> {
        let stream = self.stream.get_ref();
        stream.set_nonblocking(true)?;
        let read = self.stream.fill_buf().map(<[u8]>::len);
        self.stream.get_ref().set_nonblocking(false)?;
        match read {
            Ok(_) => Ok(false),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error).context("the control connection broke"),
        }
    }

    /// Hears replies until the server closes the connection; returns them.
    pub fn until_closed(&mut self) -> Result<Vec<Reply>> {
        let mut replies = Vec::new();
        while let Some(reply) = self.next_reply()? {
            replies.push(reply);
        }
        Ok(replies)
    }

    /// The address it comes from, without the port.
    pub fn host(&self) -> IpAddr {
        self.from
    }

    /// Ends the connection as a crashed client's kernel does: with RST.
    pub fn reset(self) -> Result<()> {
        let stream = self.stream.into_inner();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        Ok(())
    }

    /// All that was sent and heard, for failure messages.
    pub fn transcript(&self) -> String {
        self.transcript.join("\n")
    }

    fn next_reply(&mut self) -> Result<Option<Reply>> {
        let mut lines: Vec<Vec<u8>> = Vec::new();
        loop {
            let mut line = Vec::new();
            let read = self.stream.read_until(b'\n', &mut line);
            let read = read.with_context(|| format!("no reply:\n{}", self.transcript()))?;
            if read == 0 && lines.is_empty() {
                self.transcript.push("< (closed)".to_owned());
                return Ok(None);
            }
            self.transcript.push(format!("< {}", shown(&line)));
            // RFC 959, section 4.2, and RFC 2640, section 4.2: lines end with CR LF.
            let Some(text) = line.strip_suffix(b"\r\n") else {
                bail!(
                    "a line without CR LF; the session went:\n{}",
                    self.transcript()
                );
            };
            lines.push(text.to_vec());
            let first = &lines[0];
            let code = first
                .get(..3)
                .and_then(|digits| std::str::from_utf8(digits).ok());
            let Some(code) = code.and_then(|digits| digits.parse().ok()) else {
                bail!(
                    "a reply without code; the session went:\n{}",
                    self.transcript()
                );
            };
            let multi = first.get(3) == Some(&b'-');
            let last = text.get(..3) == first.get(..3) && text.get(3) == Some(&b' ');
            if !multi || last {
                return Ok(Some(Reply { code, lines }));
            }
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    let start: String = bytes
        .iter()
        .take(200)
        .flat_map(|byte| byte.escape_ascii())
        .map(char::from)
        .collect();
    match bytes.len() {
        0..=200 => start,
        len => format!("{start}… ({len} bytes)"),
    }
}
