//! Data connections of a session, and whole transfers over them.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    Control,
    address::{parse_227, parse_229},
    connect, eprt_argument, port_argument,
};
use crate::lab::Family;

impl Control {
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
}
