//! A transfer's data connection: accepted or made, or why there is none.

use crate::config::Config;
use crate::negotiate::{self, CheckedPeer, ConnectError};
use crate::pinholes::{AcceptError, PassivePort};
use crate::transfer::Monitor;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

/// Why there is no data connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DataError {
    #[error("aborted")]
    Aborted,
    #[error(transparent)]
    Accept(#[from] AcceptError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("nothing was negotiated")]
    Nothing,
}

/// Where a transfer's data connection comes from.
pub(super) enum Source {
    Passive(PassivePort),
    Active(CheckedPeer),
    DefaultPort(CheckedPeer),
}

pub(super) async fn connect(
    source: Option<Source>,
    config: Arc<Config>,
    local: SocketAddr,
    monitor: Monitor,
) -> Result<TcpStream, DataError> {
    let connected = async {
        let active = &config.active;
        let timeout = active.connect_timeout;
        let (peer, from_port_20) = match source {
            None => return Err(DataError::Nothing),
            // The port is closed at the end of this arm: it has admitted its one connection.
            Some(Source::Passive(mut port)) => return Ok(port.accept().await?),
            Some(Source::Active(peer)) => (peer, active.from_port_20),
            // The four addresses and ports have to differ from the control connection's.
            Some(Source::DefaultPort(peer)) => (peer, true),
        };
        Ok(negotiate::connect(peer, local, from_port_20, timeout).await?)
    };
    tokio::select! {
        biased;
        connected = connected => connected,
        () = monitor.aborted() => Err(DataError::Aborted),
    }
}
