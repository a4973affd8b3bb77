//! The host's TCP sockets and who holds them, at one moment.

use std::collections::HashMap;

use super::super::proc_net::{self, Process, State, TcpSocket};
use crate::config::PortSet;

/// The host's TCP sockets and who holds them, at one moment.
pub(super) struct Census {
    pub(super) sockets: Vec<TcpSocket>,
    pub(super) holders: HashMap<u64, Vec<Process>>,
}

impl Census {
    pub(super) fn take() -> Self {
        Self {
            sockets: proc_net::sockets(),
            holders: proc_net::holders(),
        }
    }

    pub(super) fn listening(&self) -> impl Iterator<Item = &TcpSocket> {
        let sockets = self.sockets.iter();
        sockets.filter(|socket| socket.state == State::Listening)
    }

    pub(super) fn listening_on(&self, ports: &PortSet) -> impl Iterator<Item = &TcpSocket> {
        self.listening()
            .filter(|socket| ports.contains(socket.local.port()))
    }
}
