//! The clients that have a control connection to this host, for `unresolved =
//! "admit-control-peers"`. The kernel half asks for them; only this keeps them.

use std::{collections::HashSet, net::IpAddr};

use aya::maps::{HashMap, MapData, MapError};
use ftp_ebpf::abi::{Address, ClientMask};

use super::super::{
    Object, ObjectError,
    proc_net::{self, State},
};
use crate::config::PortSet;

/// The kernel's set of clients, kept current.
pub(super) struct Peers {
    map: HashMap<MapData, Address, u8>,
    known: HashSet<Address>,
    control_ports: PortSet,
    mask: ClientMask,
}

impl Peers {
    /// With those that are there now.
    pub(super) fn start(
        object: &mut Object,
        control_ports: &PortSet,
        mask: ClientMask,
    ) -> Result<Self, ObjectError> {
        let map = object.peers()?;
        // What an earlier guard has left.
        let known = map.keys().filter_map(Result::ok).collect();
        let mut peers = Self {
            map,
            known,
            control_ports: control_ports.clone(),
            mask,
        };
        peers.look_again();
        Ok(peers)
    }

    /// One more has come.
    pub(super) fn arrived(&mut self, client: IpAddr) {
        if let Err(error) = self.admit(self.mask.apply(client.into())) {
            tracing::error!(%client, %error, "cannot admit a client with a control connection");
        }
    }

    /// Forgets those that have gone, and adds those that were missed.
    pub(super) fn look_again(&mut self) {
        let now: HashSet<Address> = proc_net::sockets()
            .iter()
            .filter(|socket| socket.state == State::Connected)
            .filter(|socket| self.control_ports.contains(socket.local.port()))
            .map(|socket| self.mask.apply(socket.remote.ip().into()))
            .collect();
        let gone: Vec<Address> = self.known.difference(&now).copied().collect();
        for client in gone {
            if let Err(error) = self.map.remove(&client) {
                tracing::debug!(%error, "cannot forget a client");
            }
            self.known.remove(&client);
        }
        // There may be room by now for who was refused before. One line for all: it is looked again soon.
        let mut refused = now.into_iter().filter_map(|client| {
            let error = self.admit(client).err()?;
            Some((IpAddr::from(client), error))
        });
        if let Some((client, error)) = refused.next() {
            let others = refused.count();
            tracing::error!(%client, others, %error, "cannot admit clients with a control connection");
        }
    }

    fn admit(&mut self, client: Address) -> Result<(), MapError> {
        if self.known.contains(&client) {
            return Ok(());
        }
        self.map.insert(client, 1, 0)?;
        self.known.insert(client);
        Ok(())
    }
}
