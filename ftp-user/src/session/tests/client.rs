//! A client that says exactly what it is told to.

use super::PATIENCE;
use rustls::{ClientConnection, StreamOwned};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};

/// A client that says exactly what it is told to.
pub(super) struct Client {
    pub(super) control: BufReader<Wire>,
}

impl Client {
    pub(super) fn connect(to: SocketAddr) -> Client {
        let mut client = Client::over(Wire::Clear(data(to)));
        assert_eq!(client.reply().0, 220);
        client
    }

    pub(super) fn over(wire: Wire) -> Client {
        Client {
            control: BufReader::new(wire),
        }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        let wire = self.control.get_mut();
        wire.write_all(bytes).unwrap();
        wire.flush().unwrap();
    }

    /// The next whole reply.
    pub(super) fn reply(&mut self) -> (u16, String) {
        let mut text = String::new();
        loop {
            let start = text.len();
            let mut line = Vec::new();
            let read = self.control.read_until(b'\n', &mut line).unwrap();
            assert!(read > 0, "closed after {text:?}");
            assert!(line.ends_with(b"\r\n"), "{line:?}");
            text.push_str(&String::from_utf8_lossy(&line));
            let line = &text[start..];
            if line.as_bytes().get(3) == Some(&b' ')
                && let Ok(code) = line[..3].parse()
            {
                return (code, text);
            }
        }
    }

    pub(super) fn expect_reply(&mut self, code: u16) -> String {
        let (got, text) = self.reply();
        assert_eq!(got, code, "{text:?}");
        text
    }

    pub(super) fn expect(&mut self, command: &str, code: u16) -> String {
        self.send(format!("{command}\r\n").as_bytes());
        let (got, text) = self.reply();
        assert_eq!(got, code, "{command}: {text:?}");
        text
    }

    /// Is the connection at its end, with nothing more to read?
    pub(super) fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.control.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    pub(super) fn server(&self) -> IpAddr {
        self.control.get_ref().socket().peer_addr().unwrap().ip()
    }

    pub(super) fn pasv_port(&mut self) -> u16 {
        let text = self.expect("PASV", 227);
        let inner = text.split(['(', ')']).nth(1).unwrap();
        crate::proto::address::parse_port(inner.as_bytes())
            .unwrap()
            .port()
    }

    pub(super) fn epsv_port(&mut self) -> u16 {
        let text = self.expect("EPSV", 229);
        text.split('|').nth(3).unwrap().parse().unwrap()
    }

    pub(super) fn pasv(&mut self) -> TcpStream {
        let port = self.pasv_port();
        data(SocketAddr::new(self.server(), port))
    }

    pub(super) fn retr(&mut self, path: &str) -> Vec<u8> {
        let mut data = self.pasv();
        self.expect(&format!("RETR {path}"), 150);
        let mut bytes = Vec::new();
        data.read_to_end(&mut bytes).unwrap();
        self.expect_reply(226);
        bytes
    }

    pub(super) fn store(&mut self, command: &str, bytes: &[u8]) {
        let mut data = self.pasv();
        self.expect(command, 150);
        data.write_all(bytes).unwrap();
        drop(data);
        self.expect_reply(226);
    }

    pub(super) fn listing(&mut self, command: &str) -> String {
        let mut data = self.pasv();
        self.expect(command, 150);
        let mut text = String::new();
        data.read_to_string(&mut text).unwrap();
        self.expect_reply(226);
        text
    }
}

/// A client's socket, in the clear or inside TLS.
pub(super) enum Wire {
    Clear(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// While the one becomes the other.
    Between,
}

impl Wire {
    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Wire::Clear(socket) => socket,
            Wire::Tls(tls) => &tls.sock,
            Wire::Between => unreachable!(),
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Wire::Clear(socket) => socket.read(buffer),
            Wire::Tls(tls) => tls.read(buffer),
            Wire::Between => unreachable!(),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Wire::Clear(socket) => socket.write(bytes),
            Wire::Tls(tls) => tls.write(bytes),
            Wire::Between => unreachable!(),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Wire::Clear(socket) => socket.flush(),
            Wire::Tls(tls) => tls.flush(),
            Wire::Between => unreachable!(),
        }
    }
}

pub(super) fn data(to: SocketAddr) -> TcpStream {
    let data = TcpStream::connect(to).unwrap();
    data.set_read_timeout(Some(PATIENCE)).unwrap();
    data.set_write_timeout(Some(PATIENCE)).unwrap();
    data
}

/// A listening socket of the client's, and the PORT command that names it.
pub(super) fn active() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let [high, low] = listener.local_addr().unwrap().port().to_be_bytes();
    (listener, format!("PORT 127,0,0,1,{high},{low}"))
}
