//! Pinholes: the only door to the places where a data connection can come in.
//!
//! A pinhole admits one data connection from one client. Dropping its [`PassivePort`] closes it.
//! What stands behind it is a [`Backend`]'s business.

pub mod inspect;
pub mod kernel;
mod listeners;

use crate::config::{Config, PortSet};
use kernel::{Hole, Kernel, StartError};
use listeners::{ListenerPort, Listeners};
use std::io;
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// Names a session, in the kernel's table and in logs.
pub type SessionId = u64;

/// Opens pinholes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pinholes {
    backend: Backend,
}

#[derive(Debug, Clone)]
enum Backend {
    /// Rows in the kernel's table; no socket of their own.
    Kernel(Arc<Kernel>),
    /// An ordinary listening socket per pinhole: no kernel half, no root.
    Listeners(Arc<Listeners>),
}

/// Why no pinhole could be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// All are in use, and none came free in time.
    #[error("every passive port is in use, and none came free within {}s", .0.as_secs())]
    NoPort(Duration),
    /// The kernel did not take the row.
    #[error("the kernel refused the pinhole on port {port}: {source}")]
    Kernel {
        /// Which port.
        port: u16,
        /// Its answer; `E2BIG` where the table is full (`enforce.max_pinholes`).
        source: io::Error,
    },
    /// The system refused.
    #[error("cannot listen on {address} port {port}: {source}")]
    Listen {
        /// Where.
        address: IpAddr,
        /// Which port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
}

/// Why no data connection came in.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The pinhole's time is over.
    #[error("no data connection came in within {}s", .0.as_secs())]
    Deadline(Duration),
    /// The system refused.
    #[error("cannot accept the data connection: {0}")]
    Io(#[from] io::Error),
}

impl Pinholes {
    /// Loads the kernel half and locks the interfaces. From then on the passive ports are shut but
    /// for the pinholes that are open.
    ///
    /// # Errors
    ///
    /// What is missing or in the way: a capability, a kernel version, an interface.
    pub async fn kernel(config: &Config) -> Result<Pinholes, StartError> {
        Ok(Pinholes {
            backend: Backend::Kernel(Arc::new(Kernel::start(config).await?)),
        })
    }

    /// Pinholes without the kernel half: while one is open, its port is open to anybody, and a
    /// connection from a stranger is closed as soon as it is accepted.
    pub fn listeners(config: &Config) -> Pinholes {
        Pinholes {
            backend: Backend::Listeners(Arc::new(Listeners::new(config))),
        }
    }

    /// Opens a pinhole for one data connection from `client` to `server` (unmapped addresses).
    /// Once this returns, the client is admitted: only then may its port be spoken of. The port is
    /// one of `ports`, if they are given, which are some of `passive.ports`.
    ///
    /// Waits up to `passive.port_timeout` for a port to come free.
    pub async fn open(
        &self,
        session: SessionId,
        client: IpAddr,
        server: IpAddr,
        ports: Option<&PortSet>,
    ) -> Result<PassivePort, OpenError> {
        match &self.backend {
            Backend::Kernel(kernel) => {
                let hole = kernel.open(session, client, server, ports).await?;
                Ok(PassivePort {
                    kind: PortKind::Kernel(hole),
                })
            }
            Backend::Listeners(listeners) => {
                let listeners = Arc::clone(listeners);
                let port = listeners.open(session, client, server, ports).await?;
                Ok(PassivePort {
                    kind: PortKind::Listener(port),
                })
            }
        }
    }
}

/// An open pinhole. Dropping it closes it.
#[derive(Debug)]
pub struct PassivePort {
    kind: PortKind,
}

#[derive(Debug)]
enum PortKind {
    Kernel(Hole),
    Listener(ListenerPort),
}

impl PassivePort {
    /// The port to name in the 227 or 229.
    pub fn port(&self) -> u16 {
        match &self.kind {
            PortKind::Kernel(hole) => hole.port(),
            PortKind::Listener(port) => port.port(),
        }
    }

    /// The client's connection, nonblocking and registered with no reactor; its peer has been
    /// checked. Fails `passive.connect_timeout` after the pinhole was opened. Cancel-safe.
    pub async fn accept(&mut self) -> Result<TcpStream, AcceptError> {
        match &mut self.kind {
            PortKind::Kernel(hole) => hole.accept().await,
            PortKind::Listener(port) => port.accept().await,
        }
    }
}
