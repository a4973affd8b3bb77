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

/// Writes a set of ports, and returns those that were in it before and are not any more.
pub(super) fn write(
    into: &mut Array<MapData, u64>,
    name: &'static str,
    ports: &HashSet<u16>,
) -> Result<Vec<u16>, ObjectError> {
    let refused = |source| ObjectError::Map {
        map: name,
        source: Box::new(source),
    };
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
    let refused = |source| ObjectError::Map {
        map: name,
        source: Box::new(source),
    };
    let index = u32::from(port >> 6);
    let word = set.get(&index, 0).map_err(refused)?;
    let word = match member {
        true => word | Ports::bit(port),
        false => word & !Ports::bit(port),
    };
    set.set(index, word, 0).map_err(refused)
}

/// Shuts `range`, and opens what an earlier guard had shut beside it; ports that are listened on
/// for data stay as they are.
pub(super) fn shut(
    into: &mut Array<MapData, u64>,
    shared: &SharedPorts,
    range: &HashSet<u16>,
    listened: &HashSet<u16>,
) -> Result<(), ObjectError> {
    let gone = write(into, map::RANGE, range)?;
    for port in range {
        shared.set(Set::Guarded, *port, true);
    }
    for port in gone {
        if !listened.contains(&port) {
            shared.set(Set::Guarded, port, false);
        }
    }
    Ok(())
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
