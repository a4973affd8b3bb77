//! Other programs' listeners on guarded ports: they become unreachable, so they are named.

use super::proc_net::{self, Process, State, TcpSocket};
use crate::config::PortSet;

/// Every listener on a guarded port, with a process that holds it as far as `/proc` tells.
pub(super) fn listeners(guarded: &PortSet) -> Vec<(TcpSocket, Option<Process>)> {
    let mut sockets = proc_net::sockets();
    sockets
        .retain(|socket| socket.state == State::Listening && guarded.contains(socket.local.port()));
    if sockets.is_empty() {
        return Vec::new();
    }
    let mut holders = proc_net::holders();
    sockets
        .into_iter()
        .map(|socket| {
            (
                socket,
                holders
                    .remove(&socket.inode)
                    .and_then(|mut held| held.pop()),
            )
        })
        .collect()
}

/// Says which services lose their clients: better said than searched for. `option` is how ports
/// are named where the administrator sets them.
pub(super) fn warn(guarded: &PortSet, option: &str) {
    for (socket, process) in listeners(guarded) {
        let who = match process {
            Some(Process { pid, name }) => format!("{name} (pid {pid})"),
            None => "an unknown process".to_owned(),
        };
        let (address, port) = (socket.local.ip(), socket.local.port());
        tracing::warn!(
            "{who} listens on {address} port {port}, inside the passive ports: its clients are \
             shut out from now on. To keep it reachable, leave the port out: {option} \
             \"{guarded},!{port}\""
        );
    }
}
