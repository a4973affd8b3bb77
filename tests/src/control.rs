//! A scripted FTP client: every byte it sends is the test's own, so it can say what no real
//! client says. It enters the client's namespace for each connection it makes.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{lab::Family, namespace::NetNs, wait};

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

    /// Asks for a passive port: PASV for IPv4, EPSV for IPv6.
    pub fn passive(&mut self) -> Result<SocketAddr> {
        match Family::of(self.server.ip()) {
            Family::V4 => self.pasv(),
            Family::V6 => self.epsv(),
        }
    }

    /// PASV, and the address its reply names.
    pub fn pasv(&mut self) -> Result<SocketAddr> {
        let reply = self.expect("PASV", 227)?.text();
        parse_227(&reply).with_context(|| format!("cannot read {reply:?}"))
    }

    /// EPSV, and the control connection's address with the port its reply names.
    pub fn epsv(&mut self) -> Result<SocketAddr> {
        let reply = self.expect("EPSV", 229)?.text();
        let port = parse_229(&reply).with_context(|| format!("cannot read {reply:?}"))?;
        Ok(SocketAddr::new(self.server.ip(), port))
    }

    /// A data connection from the control connection's address.
    pub fn data(&self, to: SocketAddr) -> Result<TcpStream> {
        connect(&self.namespace, self.from, to)
            .with_context(|| format!("no data connection from {} to {to}", self.from))
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

    /// A listener for an active data connection, on the control connection's address.
    pub fn listen(&self) -> Result<TcpListener> {
        let address = SocketAddr::new(self.from, 0);
        Ok(self.namespace.run(|| TcpListener::bind(address))??)
    }

    /// A listener on the control connection's own address and port, which is a client's default data
    /// port (RFC 959, section 3.2).
    pub fn listen_at_control_port(&self) -> Result<TcpListener> {
        let own = self.stream.get_ref();
        let address = own.local_addr()?;
        // Two sockets share a port if both allow it and only one listens.
        socket2::SockRef::from(own).set_reuse_address(true)?;
        let domain = Domain::for_address(address);
        let socket = self
            .namespace
            .run(|| Socket::new(domain, Type::STREAM, Some(Protocol::TCP)))??;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(1)?;
        Ok(socket.into())
    }

    /// Asks for a data connection to `listener`: PORT over IPv4, EPRT over IPv6.
    pub fn port_to(&mut self, listener: &TcpListener) -> Result<()> {
        let address = listener.local_addr()?;
        let line = match address.ip() {
            IpAddr::V4(v4) => format!("PORT {}", port_argument(v4, address.port())),
            IpAddr::V6(_) => format!("EPRT {}", eprt_argument(address)),
        };
        self.expect(&line, 200).map(drop)
    }

    /// A passive download: passive port, RETR, bytes, 226.
    pub fn retrieve(&mut self, name: &str) -> Result<Vec<u8>> {
        let to = self.passive()?;
        self.fetch(&format!("RETR {name}"), to)
    }

    /// A passive listing by `command` (`LIST`, `NLST`, `MLSD /dir`, …).
    pub fn listing(&mut self, command: &str) -> Result<Vec<u8>> {
        let to = self.passive()?;
        self.fetch(command, to)
    }

    /// A passive upload by `command` (`STOR name`, `APPE name`, …): bytes, 226.
    pub fn store(&mut self, command: &str, bytes: &[u8]) -> Result<()> {
        let to = self.passive()?;
        self.send(format!("{command}\r\n").as_bytes())?;
        let mut data = self.data(to)?;
        self.expect_transfer()?;
        data.write_all(bytes).context("cannot upload")?;
        drop(data);
        self.expect_reply(226).map(drop)
    }

    /// Everything that `command` sends over a data connection to `to`: connection, 150, bytes, 226.
    pub fn fetch(&mut self, command: &str, to: SocketAddr) -> Result<Vec<u8>> {
        self.fetch_bytes(format!("{command}\r\n").as_bytes(), to)
    }

    /// The same for a line of any bytes, with its end.
    pub fn fetch_bytes(&mut self, line: &[u8], to: SocketAddr) -> Result<Vec<u8>> {
        self.send(line)?;
        let mut data = self.data(to)?;
        self.expect_transfer()?;
        let mut bytes = Vec::new();
        data.read_to_end(&mut bytes).context("cannot download")?;
        // ProFTPD waits for it, before its 226.
        drop(data);
        self.expect_reply(226)?;
        Ok(bytes)
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

/// Connects from address `from` of `namespace`, in at most [`wait::SOON`].
pub fn connect(namespace: &NetNs, from: IpAddr, to: SocketAddr) -> Result<TcpStream> {
    connect_from(namespace, SocketAddr::new(from, 0), to, wait::SOON)
}

/// Connects from an address and port of `namespace`. Reads and writes of the connection fail
/// after [`wait::SOON`].
pub fn connect_from(
    namespace: &NetNs,
    from: SocketAddr,
    to: SocketAddr,
    limit: Duration,
) -> Result<TcpStream> {
    let socket = namespace
        .run(|| Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP)))??;
    if from.port() != 0 {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&from.into())?;
    socket.connect_timeout(&to.into(), limit)?;
    socket.set_read_timeout(Some(wait::SOON))?;
    socket.set_write_timeout(Some(wait::SOON))?;
    Ok(socket.into())
}

/// The argument of PORT for `address`.
pub fn port_argument(address: Ipv4Addr, port: u16) -> String {
    let [a, b, c, d] = address.octets();
    format!("{a},{b},{c},{d},{},{}", port >> 8, port & 0xff)
}

/// The argument of EPRT for `address` (RFC 2428, section 2).
pub fn eprt_argument(address: SocketAddr) -> String {
    let family = match Family::of(address.ip()) {
        Family::V4 => 1,
        Family::V6 => 2,
    };
    format!("|{family}|{}|{}|", address.ip(), address.port())
}

fn parse_227(text: &str) -> Option<SocketAddr> {
    let inside = text.split_once('(')?.1.split_once(')')?.0;
    let numbers: Vec<u8> = inside
        .split(',')
        .map(|number| number.trim().parse().ok())
        .collect::<Option<_>>()?;
    let [a, b, c, d, high, low] = numbers[..] else {
        return None;
    };
    let port = u16::from_be_bytes([high, low]);
    Some((Ipv4Addr::new(a, b, c, d), port).into())
}

fn parse_229(text: &str) -> Option<u16> {
    text.split_once("(|||")?.1.split_once("|)")?.0.parse().ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passive_replies_are_read() {
        assert_eq!(
            parse_227("227 Entering Passive Mode (10,77,0,1,117,49).").map(|a| a.to_string()),
            Some("10.77.0.1:30001".to_owned())
        );
        assert_eq!(parse_227("227 =10,77,0,1,117,49"), None);
        assert_eq!(parse_229("229 Extended (|||30001|)"), Some(30001));
    }

    #[test]
    fn active_arguments_are_written() {
        assert_eq!(
            port_argument(Ipv4Addr::new(10, 77, 0, 2), 40001),
            "10,77,0,2,156,65"
        );
        assert_eq!(
            eprt_argument("[fd77::2]:40001".parse().unwrap()),
            "|2|fd77::2|40001|"
        );
    }
}
