//! The guard's tables, as far as this half writes to them: what was there before the guard, and what is
//! to be taken away because the kernel half could not. It takes only what nobody can be waiting for.

use std::{collections::HashSet, io, sync::Arc};

use aya::{
    Pod,
    maps::{Array, HashMap, MapData, MapError},
};
use ftp_ebpf::abi::{Address, ClientMask, Data, DataPort, Pinhole, PinholeKey, map};

use super::{
    super::{
        Object, ObjectError, Set, SharedPorts, hash,
        proc_net::{State, TcpSocket},
    },
    ports::Range,
};

/// The tables.
pub(super) struct Ledger {
    rows: HashMap<MapData, PinholeKey, Pinhole>,
    data_ports: HashMap<MapData, u64, Data>,
    counts: Array<MapData, u32>,
    seeded: HashMap<MapData, DataPort, Data>,
    ports: Arc<SharedPorts>,
    range: Range,
    mask: ClientMask,
    /// Ports that a listener is known for and nobody listened on, the last time.
    doubtful: HashSet<u16>,
}

impl Ledger {
    /// Of these tables.
    pub(super) fn open(
        object: &mut Object,
        data_ports: HashMap<MapData, u64, Data>,
        ports: Arc<SharedPorts>,
        range: Range,
        mask: ClientMask,
    ) -> Result<Self, ObjectError> {
        Ok(Self {
            rows: object.pinholes()?,
            data_ports,
            counts: object.data_port_counts()?,
            seeded: object.seeded()?,
            ports,
            range,
            mask,
            doubtful: HashSet::new(),
        })
    }

    /// The one table.
    pub(super) fn rows(&self) -> &HashMap<MapData, PinholeKey, Pinhole> {
        &self.rows
    }

    /// Opens a pinhole; says whether there was none of that key.
    pub(super) fn insert_row(
        &mut self,
        key: &PinholeKey,
        row: &Pinhole,
    ) -> Result<bool, ObjectError> {
        match self.rows.insert(key, row, hash::NOEXIST) {
            Ok(()) => Ok(true),
            Err(MapError::SyscallError(error))
                if error.io_error.kind() == io::ErrorKind::AlreadyExists =>
            {
                Ok(false)
            }
            Err(source) => Err(ObjectError::of_map(map::PINHOLES)(source)),
        }
    }

    /// Closes a session's pinhole, if it is still that session's.
    pub(super) fn remove_row(&mut self, key: &PinholeKey, session: u64) {
        if self
            .rows
            .get(key, 0)
            .is_ok_and(|row| row.session == session)
        {
            remove(&mut self.rows, key);
        }
    }

    /// A socket from before the guard listens there; its port is guarded until it closes.
    pub(super) fn insert_seed(&mut self, place: &DataPort, data: &Data) -> Result<(), ObjectError> {
        let inserted = self.seeded.insert(place, data, 0);
        inserted.map_err(ObjectError::of_map(map::SEEDED))?;
        self.set(data.port, true);
        Ok(())
    }

    /// It has closed, and nobody saw it.
    pub(super) fn remove_seed(&mut self, place: &DataPort, data: &Data) {
        remove(&mut self.seeded, place);
        self.remove_row(&data.key, data.session);
        self.release(data.port);
    }

    /// Something listens on a port that is shut only because active data connections leave from it:
    /// leaves it alone, and says whether it is such a port.
    pub(super) fn leave_alone(&mut self, port: u16) -> Result<bool, ObjectError> {
        let is_such = self.range.leave_alone(port)?;
        if is_such {
            self.ports.set(Set::Guarded, port, false);
        }
        Ok(is_such)
    }

    /// Whether a second look is needed.
    pub(super) fn is_in_doubt(&self) -> bool {
        !self.doubtful.is_empty()
    }

    /// Takes away what the kernel half has not, because it missed events: pinholes by which a connection
    /// has come, and all that belongs to ports on which nobody listens. The latter only where that is so
    /// for the second time, because a listener is in the tables a moment before `/proc` shows it.
    pub(super) fn reconcile(&mut self, now: &[TcpSocket]) {
        let come = Come::among(now, &self.mask);
        let rows: Vec<_> = self.rows.iter().flatten().collect();
        for (key, row) in &rows {
            if come.by(key, row) {
                self.remove_row(key, row.session);
            }
        }

        let data: Vec<_> = self.data_ports.iter().flatten().collect();
        let seeds: Vec<_> = self.seeded.iter().flatten().collect();
        let known = data.iter().map(|(_, data)| data.port);
        let known = known.chain(seeds.iter().map(|(_, data)| data.port));
        let before = std::mem::take(&mut self.doubtful);
        self.doubtful = deserted(known, now);
        let gone: HashSet<u16> = self.doubtful.intersection(&before).copied().collect();
        for (socket, data) in &data {
            if gone.contains(&data.port) {
                remove(&mut self.data_ports, socket);
                self.remove_row(&data.key, data.session);
            }
        }
        for (place, data) in &seeds {
            if gone.contains(&data.port) {
                remove(&mut self.seeded, place);
                self.remove_row(&data.key, data.session);
            }
        }
        for port in gone {
            self.doubtful.remove(&port);
            let left = self.data_ports.iter().flatten();
            let left = left.filter(|(_, data)| data.port == port).count();
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            if let Err(error) = self.counts.set(u32::from(port), left, 0) {
                tracing::debug!(port, %error, "cannot count the listeners of a port anew");
            }
            self.release(port);
        }
    }

    /// Marks a port as nobody's data port, unless somebody is known to listen on it.
    fn release(&mut self, port: u16) {
        if self.is_listened_on(port) {
            return;
        }
        self.set(port, false);
        // The kernel half may have seen somebody begin in between, and set what was just cleared.
        if self.is_listened_on(port) {
            self.set(port, true);
        }
    }

    fn is_listened_on(&self, port: u16) -> bool {
        // What cannot be read may be listened on.
        self.counts
            .get(&u32::from(port), 0)
            .map_or(true, |count| count != 0)
            || (self.seeded.keys().flatten()).any(|place| place.port == u32::from(port))
    }

    fn set(&self, port: u16, is_data_port: bool) {
        if is_data_port || !self.range.contains(port) {
            self.ports.set(Set::Guarded, port, is_data_port);
        }
        self.ports.set(Set::Waiting, port, is_data_port);
    }
}

/// Which connections there are, by server port, client port and client.
struct Come(HashSet<(u16, u16, Address)>);

impl Come {
    fn among(now: &[TcpSocket], mask: &ClientMask) -> Self {
        let connected = now.iter().filter(|socket| socket.state == State::Connected);
        let ends = connected.map(|socket| {
            let client = mask.apply(socket.remote.ip().into());
            (socket.local.port(), socket.remote.port(), client)
        });
        Self(ends.collect())
    }

    /// Whether the connection that has taken a pinhole is there: nobody else may come by it.
    fn by(&self, key: &PinholeKey, row: &Pinhole) -> bool {
        let port = u16::from_be(key.port_be);
        let taken_by = u16::from_be(row.claim.client_port_be());
        self.0.contains(&(port, taken_by, key.client))
    }
}

/// Those of the ports on which nobody listens.
fn deserted(ports: impl Iterator<Item = u16>, now: &[TcpSocket]) -> HashSet<u16> {
    let listening = now.iter().filter(|socket| socket.state == State::Listening);
    let listening: HashSet<u16> = listening.map(|socket| socket.local.port()).collect();
    ports.filter(|port| !listening.contains(port)).collect()
}

/// Where the kernel half was first, there is nothing to do.
fn remove<K: Pod, V: Pod>(map: &mut HashMap<MapData, K, V>, key: &K) {
    if let Err(error) = hash::remove(map, key) {
        tracing::debug!(%error, "cannot take away what is over");
    }
}

#[cfg(test)]
mod tests {
    use ftp_ebpf::abi::Claim;

    use super::*;

    fn socket(local: &str, remote: &str, state: State) -> TcpSocket {
        TcpSocket {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            state,
            inode: 1,
        }
    }

    #[test]
    fn a_pinhole_is_over_only_when_the_connection_that_took_it_is_there() {
        let mask = ClientMask::EXACT;
        let connected = socket("10.0.0.1:30000", "10.0.0.9:5", State::Connected);
        let come = Come::among(&[connected], &mask);
        let client = |ip: [u8; 4]| std::net::IpAddr::from(ip).into();
        let key = |ip, port: u16| PinholeKey {
            client: client(ip),
            port_be: port.to_be(),
            ..PinholeKey::default()
        };
        let taken_by = |port: u16| Pinhole {
            claim: Claim::new(port.to_be(), 7_000_000_000),
            ..Pinhole::default()
        };
        assert!(come.by(&key([10, 0, 0, 9], 30000), &taken_by(5)));
        assert!(
            !come.by(&key([10, 0, 0, 9], 30000), &taken_by(6)),
            "another"
        );
        assert!(
            !come.by(&key([10, 0, 0, 9], 30000), &Pinhole::default()),
            "free"
        );
        assert!(!come.by(&key([10, 0, 0, 9], 30001), &taken_by(5)));
        assert!(!come.by(&key([10, 0, 0, 8], 30000), &taken_by(5)));
    }

    #[test]
    fn a_connection_does_not_listen() {
        let now = [
            socket("10.0.0.1:30000", "10.0.0.9:5", State::Connected),
            socket("0.0.0.0:30001", "0.0.0.0:0", State::Listening),
        ];
        let ports = [30000, 30001, 30002];
        assert_eq!(
            deserted(ports.into_iter(), &now),
            HashSet::from([30000, 30002])
        );
    }
}
