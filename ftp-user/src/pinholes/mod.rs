//! Pinholes: the only door to the places where a data connection can come in.
//!
//! A pinhole admits one data connection from one client. Dropping its [`PassivePort`] closes it.
//! What stands behind it is a [`Backend`]'s business.

pub mod inspect;
pub mod kernel;
mod listeners;
mod proc;

use crate::channel::Channel;
use crate::config::{Config, PortSet};
use futures_util::future::BoxFuture;
pub use kernel::Estate;
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
    /// The process that took over did not open it.
    #[error("the process that took over opens no pinhole: {0}")]
    Successor(String),
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

/// Pinholes that can be opened as soon as the interfaces are locked.
pub struct Prepared(Preparing);

enum Preparing {
    Kernel(Box<kernel::Prepared>),
    Listeners(Arc<Listeners>),
}

/// The pinholes of sessions of the process before.
#[derive(Debug, Default)]
pub struct Heirs(kernel::Heirs);

impl Prepared {
    /// Locks the interfaces: from then on the passive ports are shut but for the pinholes that are
    /// open, those that the process before leaves among them.
    ///
    /// # Errors
    ///
    /// What is in the way: an interface, another program on it.
    pub fn lock(self, estate: Estate) -> Result<(Pinholes, Heirs), StartError> {
        match self.0 {
            Preparing::Kernel(prepared) => {
                let (kernel, heirs) = prepared.lock(estate)?;
                let backend = Backend::Kernel(Arc::new(kernel));
                Ok((Pinholes { backend }, Heirs(heirs)))
            }
            Preparing::Listeners(listeners) => {
                let backend = Backend::Listeners(listeners);
                Ok((Pinholes { backend }, Heirs::default()))
            }
        }
    }
}

impl Pinholes {
    /// The kernel's pinholes, loaded, or ordinary listeners where the admin does without
    /// enforcement. Never the one in place of the other by itself.
    ///
    /// # Errors
    ///
    /// What is missing: a capability, a kernel version.
    pub async fn prepare(config: &Config) -> Result<Prepared, StartError> {
        Ok(Prepared(match config.enforce.enabled {
            true => Preparing::Kernel(Box::new(Kernel::prepare(config).await?)),
            false => {
                if let Some(neighbour) = kernel::find_server(config).await {
                    return Err(StartError::Neighbour(neighbour));
                }
                Preparing::Listeners(Arc::new(Listeners::new(config)))
            }
        }))
    }

    /// Accepts data connections from here on.
    pub async fn accept(&self) {
        match &self.backend {
            Backend::Kernel(kernel) => kernel.accept().await,
            // Each accepts its own.
            Backend::Listeners(_) => {}
        }
    }

    /// Opens and closes pinholes for the sessions of the process before, until it has ended.
    pub async fn serve_predecessor(&self, channel: &Channel, heirs: Heirs) {
        match &self.backend {
            Backend::Kernel(kernel) => kernel.serve_predecessor(channel, heirs.0).await,
            Backend::Listeners(_) => {
                while let Ok(Some(_)) = channel.receive::<serde_json::Value>().await {}
            }
        }
    }

    /// Tells another process what is here, for it to take over. Until that is settled, no pinhole is
    /// opened.
    ///
    /// # Errors
    ///
    /// The other process does not hear.
    pub async fn leave(&self, channel: &Channel) -> io::Result<()> {
        match &self.backend {
            Backend::Kernel(kernel) => kernel.leave(channel).await,
            Backend::Listeners(_) => kernel::leave_nothing(channel).await,
        }
    }

    /// The other process has not taken over, and is gone: all is as before.
    pub async fn stay(&self) {
        match &self.backend {
            Backend::Kernel(kernel) => kernel.stay().await,
            Backend::Listeners(_) => {}
        }
    }

    /// The other process has taken over, and opens the pinholes of the sessions that are left here.
    /// The future is to be polled for as long as there are any.
    pub async fn hand(&self, channel: Arc<Channel>) -> BoxFuture<'static, ()> {
        match &self.backend {
            Backend::Kernel(kernel) => Box::pin(kernel.hand(channel).await),
            // By its end the other process knows that this one has ended.
            Backend::Listeners(_) => Box::pin(async move {
                let _held = channel;
                std::future::pending::<()>().await;
            }),
        }
    }

    /// Pinholes without the kernel half: while one is open, its port is open to anybody, and a
    /// connection from a stranger is closed as soon as it is accepted.
    #[cfg(test)]
    pub(crate) fn listeners(config: &Config) -> Pinholes {
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
