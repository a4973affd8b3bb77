//! By which way control connections come, and what of it is out of a guard's sight: a program that
//! takes them for a server elsewhere, a host that hands them on.

use std::net::{Ipv4Addr, SocketAddr};

use super::{
    super::{host, proc_net::Process},
    census::Census,
    dnat,
};
use crate::config::PortSet;

/// Programs that take connections for a server in another network namespace.
const PROXIES: [&str; 4] = ["docker-proxy", "rootlessport", "slirp4netns", "pasta"];
/// What to do instead.
const THERE: &str = "guard its network namespace, --netns /proc/PID/ns/net with PID a process of \
                     the server";

/// Where control connections come in: what listens on the control ports, or, with nothing there
/// yet, all addresses. Says what speaks against guarding them here.
pub(super) fn listened(control_ports: &PortSet, census: &Census) -> Vec<SocketAddr> {
    let mut listened = Vec::new();
    for socket in census.listening_on(control_ports) {
        listened.push(socket.local);
        let holders = census.holders.get(&socket.inode).into_iter().flatten();
        for Process { pid, name } in holders {
            if PROXIES.contains(&name.as_str()) {
                tracing::warn!(
                    "{name} (pid {pid}) takes the connections to port {} for a server in another \
                     network namespace, whose data ports cannot be seen from here: {THERE}",
                    socket.local.port()
                );
            }
        }
    }
    let is_served = |port| listened.iter().any(|at: &SocketAddr| at.port() == port);
    let all_served = control_ports.iter().all(is_served);
    warn_of_dnat(control_ports, all_served);
    if listened.is_empty() {
        // As it is where the guard starts before the server, which it should.
        tracing::info!(
            "nothing listens on control port {control_ports} yet: guarding every interface that \
             is up"
        );
        listened.push(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
    }
    listened
}

/// A rule that names no port concerns us only if there is a control port that nobody serves here.
fn warn_of_dnat(control_ports: &PortSet, all_served: bool) {
    // Without forwarding, a packet that is handed on gets nowhere.
    if !matches!(host::forwards(), Ok(true)) {
        return;
    }
    match dnat::find(control_ports) {
        Some(dnat::Rule {
            place,
            certain: true,
        }) => tracing::warn!(
            "this host hands connections to control port {control_ports} on to another (DNAT in \
             {place}): their packets pass here untouched. If that is the server to guard, {THERE}"
        ),
        Some(dnat::Rule {
            place,
            certain: false,
        }) if !all_served => tracing::warn!(
            "this host forwards and changes the destination of packets (DNAT in {place}). If it \
             hands connections to control port {control_ports} on to a server elsewhere, their \
             packets pass here untouched: {THERE}"
        ),
        Some(_) | None => {}
    }
}
