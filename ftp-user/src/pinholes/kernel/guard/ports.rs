//! Which ports the guard shuts in any case, told to the kernel half.

use std::collections::HashSet;

use aya::maps::{Array, MapData};
use ftp_ebpf::abi::{Ports, map};

use super::super::{ObjectError, Set, SharedPorts};
use crate::config::PortSet;

/// The ports that active data connections leave from: L-1 for each control port L (RFC 959
/// section 8), which is 20 for 21. What the server connects out to has a socket and comes back;
/// whatever else comes to such a port is nobody's. Not those that somebody listens on.
pub(super) fn active(control: &PortSet, listening: &HashSet<u16>) -> (Vec<u16>, Vec<u16>) {
    control
        .iter()
        .filter_map(|port| port.checked_sub(1).filter(|active| *active > 0))
        .filter(|active| !control.contains(*active))
        .partition(|active| !listening.contains(active))
}

/// The ports that are shut in any case.
pub(super) struct Range {
    map: Array<MapData, u64>,
    ports: HashSet<u16>,
    /// Those among them from which active data connections leave, and which nobody has asked to shut.
    active: HashSet<u16>,
}

impl Range {
    /// Shuts `asked` and `active`, and opens what an earlier guard had shut beside it; ports that are
    /// listened on for data stay as they are.
    pub(super) fn shut(
        mut map: Array<MapData, u64>,
        shared: &SharedPorts,
        asked: &HashSet<u16>,
        active: &[u16],
        listened: &HashSet<u16>,
    ) -> Result<Self, ObjectError> {
        let active: HashSet<u16> = active.iter().copied().collect();
        let ports: HashSet<u16> = asked.union(&active).copied().collect();
        let gone = write(&mut map, map::RANGE, &ports)?;
        for port in &ports {
            shared.set(Set::Guarded, *port, true);
        }
        for port in gone {
            if !listened.contains(&port) {
                shared.set(Set::Guarded, port, false);
            }
        }
        let active = active.difference(asked).copied().collect();
        Ok(Self { map, ports, active })
    }

    /// Whether it is one of them.
    pub(super) fn contains(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }

    /// Takes a port of active data connections out, if it is one; says whether it was.
    pub(super) fn leave_alone(&mut self, port: u16) -> Result<bool, ObjectError> {
        if !self.active.remove(&port) {
            return Ok(false);
        }
        self.ports.remove(&port);
        change(&mut self.map, map::RANGE, port, false)?;
        Ok(true)
    }
}

/// What listens on a port of active data connections, when the guard starts or later, is told of.
pub(super) fn warn_of_service(port: u16) {
    tracing::warn!(
        "something listens on port {port}, from which active data connections leave: it stays \
         reachable"
    );
}

/// Writes a set of ports, and returns those that were in it before and are not any more.
pub(super) fn write(
    into: &mut Array<MapData, u64>,
    name: &'static str,
    ports: &HashSet<u16>,
) -> Result<Vec<u16>, ObjectError> {
    let refused = ObjectError::of_map(name);
    let mut words = [0_u64; Ports::WORDS];
    for port in ports {
        if let Some(word) = words.get_mut(Ports::word(*port)) {
            *word |= Ports::bit(*port);
        }
    }
    let mut gone = Vec::new();
    for (index, word) in (0_u32..).zip(words) {
        let before = into.get(&index, 0).map_err(refused)?;
        if before != word {
            into.set(index, word, 0).map_err(refused)?;
        }
        let left = before & !word;
        gone.extend(
            (0_u16..64)
                .filter(|bit| left & 1 << bit != 0)
                .filter_map(|bit| u16::try_from(index * 64 + u32::from(bit)).ok()),
        );
    }
    Ok(gone)
}

/// Adds one port to a set, or takes it out.
pub(super) fn change(
    set: &mut Array<MapData, u64>,
    name: &'static str,
    port: u16,
    member: bool,
) -> Result<(), ObjectError> {
    let refused = ObjectError::of_map(name);
    let index = u32::from(port >> 6);
    let word = set.get(&index, 0).map_err(refused)?;
    let word = match member {
        true => word | Ports::bit(port),
        false => word & !Ports::bit(port),
    };
    set.set(index, word, 0).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn active_ports_lie_one_below_the_control_ports() {
        let control = "1,21,990-991,2121".parse().unwrap();
        let listening = HashSet::from([2120]);
        assert_eq!(
            active(&control, &listening),
            (vec![20, 989], vec![2120]),
            "990 is a control port itself, and 0 is none"
        );
    }
}
