//! Other programs' listeners on guarded ports: they become unreachable, so they are named.

use std::collections::HashSet;

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

/// Says which services lose their clients, or would: better said than searched for. `option` is how
/// ports are named where the administrator sets them; `open` are those that keep their clients.
pub(super) fn warn(guarded: &PortSet, option: &str, open: &HashSet<u16>, dry_run: bool) {
    let mut shut = listeners(guarded);
    shut.retain(|(socket, _)| !open.contains(&socket.local.port()));
    for (socket, process) in shut {
        let who = match process {
            Some(Process { pid, name }) => format!("{name} (pid {pid})"),
            None => "an unknown process".to_owned(),
        };
        let (address, port) = (socket.local.ip(), socket.local.port());
        let what = match dry_run {
            false => "are shut out from now on",
            true => "would be shut out",
        };
        tracing::warn!(
            "{who} listens on {address} port {port}, inside the passive ports: its clients {what}. \
             To keep it reachable, leave the port out: {option} \"{guarded},!{port}\""
        );
    }
}
