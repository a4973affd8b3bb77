//! An FTP client that costs as little as can be, so that what is measured is the server. It checks
//! every reply's code and nothing else.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::net::{RecvFlags, recv};

const PATIENCE: Duration = Duration::from_secs(30);

/// A control connection, logged in, in binary mode.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    sink: Vec<u8>,
}

impl Client {
    /// Connects and logs in as the anonymous user. Call it on a thread inside the client's namespace,
    /// and the transfers as well.
    pub(crate) fn anonymous(server: SocketAddr) -> Result<Self> {
        let mut client = Self::connect(server)?;
        if client.command("USER anonymous\r\n")? == 331 {
            client.expect("PASS bench@example.com\r\n", 230)?;
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
        let mut client = Self {
            stream,
            buffer: Vec::with_capacity(1024),
            sink: vec![0; 1 << 20],
        };
        client.reply(220)?;
        Ok(client)
    }

    /// Sends a command line and returns how long its reply took.
    pub(crate) fn timed(&mut self, line: &str, code: u16) -> Result<Duration> {
        let start = Instant::now();
        self.expect(line, code)?;
        Ok(start.elapsed())
    }

    /// Downloads by PASV and RETR, throws the bytes away without copying them out of the kernel, and
    /// returns how many there were and the time from sending RETR to hearing its 226.
    pub(crate) fn discard(&mut self, name: &str) -> Result<(u64, Duration)> {
        self.expect("PASV\r\n", 227)?;
        let address = parse_227(&self.buffer).context("cannot read the reply to PASV")?;
        let data = TcpStream::connect_timeout(&address, PATIENCE)
            .with_context(|| format!("no data connection to {address}"))?;
        data.set_read_timeout(Some(PATIENCE))?;
        let start = Instant::now();
        self.expect(&format!("RETR {name}\r\n"), 150)?;
        let mut total = 0;
        loop {
            // tcp(7): MSG_TRUNC discards instead of copying.
            let (_, received) = match recv(&data, &mut self.sink[..], RecvFlags::TRUNC) {
                Err(rustix::io::Errno::INTR) => continue,
                result => result.context("cannot download")?,
            };
            if received == 0 {
                break;
            }
            total += received as u64;
        }
        self.reply(226)?;
        Ok((total, start.elapsed()))
    }

    fn expect(&mut self, line: &str, code: u16) -> Result<()> {
        let heard = self.command(line)?;
        ensure!(
            heard == code,
            "{} answered with {}",
            line.trim_end(),
            self.heard()
        );
        Ok(())
    }

    fn command(&mut self, line: &str) -> Result<u16> {
        self.stream
            .write_all(line.as_bytes())
            .context("cannot send a command")?;
        self.hear()
    }

    fn reply(&mut self, code: u16) -> Result<()> {
        let heard = self.hear()?;
        ensure!(heard == code, "expected {code}, heard {}", self.heard());
        Ok(())
    }

    /// Reads one reply of one line or more (RFC 959, section 4.2) and returns its code. A server that
    /// says more than was asked for would be noticed at the next command.
    fn hear(&mut self) -> Result<u16> {
        self.buffer.clear();
        loop {
            if let Some(code) = complete(&self.buffer) {
                return Ok(code);
            }
            let mut chunk = [0; 1024];
            let read = match self.stream.read(&mut chunk) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result.context("no reply")?,
            };
            if read == 0 {
                bail!(
                    "the server closed the control connection after {:?}",
                    self.heard()
                );
            }
            self.buffer.extend_from_slice(&chunk[..read]);
        }
    }

    fn heard(&self) -> String {
        String::from_utf8_lossy(&self.buffer).trim_end().to_owned()
    }
}

/// The code, once the last line of a reply is there.
fn complete(heard: &[u8]) -> Option<u16> {
    let text = heard.strip_suffix(b"\r\n")?;
    let last = text.rsplit(|byte| *byte == b'\n').next()?;
    if last.get(3) != Some(&b' ') {
        return None;
    }
    std::str::from_utf8(last.get(..3)?).ok()?.parse().ok()
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
        assert_eq!(complete(b"220 Hello.\r\n"), Some(220));
        assert_eq!(complete(b"220 Hel"), None);
        assert_eq!(complete(b"211-Features:\r\n PASV\r\n"), None);
        assert_eq!(
            complete(b"211-Features:\r\n PASV\r\n211 End\r\n"),
            Some(211)
        );
    }

    #[test]
    fn passive_replies_are_read() {
        let address = parse_227(b"227 Entering Passive Mode (127,0,0,1,117,49).\r\n");
        assert_eq!(address, Some("127.0.0.1:30001".parse().unwrap()));
        assert_eq!(parse_227(b"227 nonsense\r\n"), None);
    }
}
