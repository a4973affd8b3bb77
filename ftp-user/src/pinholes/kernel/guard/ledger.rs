//! The guard's tables, as far as this half writes to them: what was there before the guard.

use std::{collections::HashSet, io, sync::Arc};

use aya::maps::{Array, HashMap, MapData, MapError};
use ftp_ebpf::abi::{Data, DataPort, Pinhole, PinholeKey, map};

use super::super::{Object, ObjectError, Set, SharedPorts};

/// The tables.
pub(super) struct Ledger {
    rows: HashMap<MapData, PinholeKey, Pinhole>,
    /// Held, so that `pinhole status` finds it among this process's descriptors.
    _data_ports: HashMap<MapData, u64, Data>,
    counts: Array<MapData, u32>,
    seeded: HashMap<MapData, DataPort, PinholeKey>,
    ports: Arc<SharedPorts>,
    /// Ports that are shut in any case.
    range: HashSet<u16>,
}

impl Ledger {
    /// Of these tables; `range` are the ports that are shut in any case.
    pub(super) fn open(
        object: &mut Object,
        data_ports: HashMap<MapData, u64, Data>,
        ports: Arc<SharedPorts>,
        range: HashSet<u16>,
    ) -> Result<Self, ObjectError> {
        Ok(Self {
            rows: object.pinholes()?,
            _data_ports: data_ports,
            counts: object.data_port_counts()?,
            seeded: object.seeded()?,
            ports,
            range,
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
        match self.rows.insert(key, row, NOEXIST) {
            Ok(()) => Ok(true),
            Err(MapError::SyscallError(error))
                if error.io_error.kind() == io::ErrorKind::AlreadyExists =>
            {
                Ok(false)
            }
            Err(source) => Err(refused(map::PINHOLES)(source)),
        }
    }

    /// Closes a session's pinhole, if it is still that session's.
    pub(super) fn remove_row(&mut self, key: &PinholeKey, session: u64) {
        if self.rows.get(key, 0).is_ok_and(|row| row.session == session) {
            removed(self.rows.remove(key));
        }
    }

    /// A socket from before the guard listens there; its port is guarded until it closes.
    pub(super) fn insert_seed(
        &mut self,
        place: &DataPort,
        key: &PinholeKey,
    ) -> Result<(), ObjectError> {
        let inserted = self.seeded.insert(place, key, 0);
        inserted.map_err(refused(map::SEEDED))?;
        self.set(port_of(place), true);
        Ok(())
    }

    /// It has closed, and nobody saw it.
    pub(super) fn remove_seed(&mut self, place: &DataPort) {
        removed(self.seeded.remove(place));
        self.release(port_of(place));
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
        if is_data_port || !self.range.contains(&port) {
            self.ports.set(Set::Guarded, port, is_data_port);
        }
        self.ports.set(Set::Waiting, port, is_data_port);
    }
}

/// `BPF_NOEXIST` (linux/bpf.h).
const NOEXIST: u64 = 1;

fn port_of(place: &DataPort) -> u16 {
    // It has been made of one.
    u16::try_from(place.port).unwrap_or(0)
}

fn removed(result: Result<(), MapError>) {
    match result {
        Ok(()) => {}
        // The kernel half was first.
        Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::debug!(%error, "cannot take away what is over"),
    }
}

fn refused(map: &'static str) -> impl FnOnce(MapError) -> ObjectError {
    move |source| ObjectError::Map {
        map,
        source: Box::new(source),
    }
}
