//! Data connections for tests.

use super::connection::DataConnection;
use super::monitor::Monitor;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// Longer than anything in a test takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Our end, nonblocking, and the client's.
pub(super) fn pair(monitor: &Monitor) -> (DataConnection, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_nodelay(true).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let (server, _) = listener.accept().unwrap();
    server.set_nonblocking(true).unwrap();
    let connection = DataConnection::new(server, monitor.clone(), PATIENCE, None);
    (connection, client)
}
