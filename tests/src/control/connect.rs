//! Connections from a namespace, to whichever port.

use std::{
    net::{IpAddr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::Result;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{namespace::NetNs, wait};

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
