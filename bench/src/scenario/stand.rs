//! A running server and the network that its clients reach it by, made for one round and gone after it.

use std::{
    net::SocketAddr,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use ftp_tests::{
    lab::{Family, Lab, server_address},
    namespace::NetNs,
};

use super::Bench;
use crate::{
    client::{Account, Client, Connector},
    server::{PASSIVE_PORTS, Running, Server, Site},
};

/// How clients reach the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// The loopback interface of one namespace.
    Loopback,
    /// Two namespaces and a veth pair between them.
    Veth,
}

/// See the module.
pub(crate) struct Stand<'a> {
    pub(crate) server: &'a dyn Server,
    pub(crate) listen: SocketAddr,
    pub(crate) running: Running,
    namespace: NetNs,
    clients: NetNs,
    _lab: Option<Lab>,
}

impl<'a> Stand<'a> {
    /// Starts a server, with or without TLS on offer.
    pub(crate) fn open(
        bench: &Bench,
        server: &'a dyn Server,
        network: Network,
        tls: bool,
    ) -> Result<Self> {
        let lab = match network {
            Network::Loopback => None,
            Network::Veth => Some(Lab::new()?),
        };
        let (namespace, clients, listen, interface) = match &lab {
            Some(lab) => {
                let listen = SocketAddr::new(server_address(Family::V4), 21);
                (lab.server.clone(), lab.client.clone(), listen, "s0")
            }
            None => {
                let namespace = NetNs::new("bench")?;
                let listen: SocketAddr = ([127, 0, 0, 1], 21).into();
                (namespace.clone(), namespace, listen, "lo")
            }
        };
        for namespace in [&namespace, &clients] {
            prepare(namespace)?;
        }
        let site = Site {
            namespace: &namespace,
            clients: &clients,
            listen,
            interface,
            root: bench.files().root(),
            passive_ports: PASSIVE_PORTS,
            tls: tls.then(|| bench.certificate()),
            attach: "auto",
        };
        let running = server
            .start(&site)
            .with_context(|| format!("cannot start {}", server.name()))?;
        Ok(Self {
            server,
            listen,
            running,
            namespace,
            clients,
            _lab: lab,
        })
    }

    /// Where the server is.
    pub(crate) fn namespace(&self) -> &NetNs {
        &self.namespace
    }

    /// Where the clients are.
    pub(crate) fn clients(&self) -> &NetNs {
        &self.clients
    }

    /// Runs `work` where the clients are.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.clients.run(work)?
    }

    /// Sessions that are logged in, one after the other.
    pub(crate) fn sessions(
        &self,
        count: usize,
        account: Account,
        tls: Option<&Connector>,
    ) -> Result<Vec<Client>> {
        self.within(|| {
            (0..count)
                .map(|_| Client::login(self.listen, account, tls))
                .collect()
        })
    }
}

/// Clients' own ports must not lie in the passive range: on loopback a server could not bind them, and
/// what is measured would be its search for another.
fn prepare(namespace: &NetNs) -> Result<()> {
    namespace.sysctl("net/ipv4/ip_local_port_range", "1024 29999")?;
    namespace.sysctl("net/core/somaxconn", "16384")?;
    namespace.sysctl("net/ipv4/tcp_max_syn_backlog", "16384")
}

/// Lets every session do `work` on a thread of its own, all beginning at once; the time until the last is
/// done, and what they returned. To be called on a thread inside the clients' namespace.
pub(crate) fn at_once<T: Send>(
    sessions: &mut [Client],
    work: impl Fn(usize, &mut Client) -> Result<T> + Sync,
) -> Result<(Vec<T>, Duration)> {
    let start = Barrier::new(sessions.len() + 1);
    thread::scope(|scope| {
        let threads: Vec<_> = sessions
            .iter_mut()
            .enumerate()
            .map(|(number, client)| {
                let (start, work) = (&start, &work);
                scope.spawn(move || {
                    start.wait();
                    work(number, client)
                })
            })
            .collect();
        start.wait();
        let began = Instant::now();
        let done = threads
            .into_iter()
            .map(|thread| {
                let result = thread.join();
                result.map_err(|_| anyhow!("a client's thread panicked"))?
            })
            .collect::<Result<Vec<T>>>()?;
        Ok((done, began.elapsed()))
    })
}
