//! The table's rows in the kernel's maps.

use std::{io, sync::Arc};

use aya::maps::{HashMap, MapData, MapError};
use ftp_ebpf::abi::{Claim, Pinhole, PinholeKey};

use super::{
    hash,
    shared_ports::{Set, SharedPorts},
    table::Store,
};

/// Writes rows and waiting bits.
pub(super) struct KernelStore {
    rows: HashMap<MapData, PinholeKey, Pinhole>,
    ports: Arc<SharedPorts>,
}

impl KernelStore {
    pub(super) fn new(
        rows: HashMap<MapData, PinholeKey, Pinhole>,
        ports: Arc<SharedPorts>,
    ) -> Self {
        Self { rows, ports }
    }
}

impl Store for KernelStore {
    fn insert(&mut self, key: &PinholeKey, row: &Pinhole) -> io::Result<()> {
        self.rows.insert(key, row, hash::NOEXIST).map_err(into_io)
    }

    fn remove(&mut self, key: &PinholeKey) -> io::Result<()> {
        hash::remove(&mut self.rows, key).map_err(into_io)
    }

    fn claim(&self, key: &PinholeKey) -> Claim {
        // A row that is gone is closed by its session soon.
        self.rows.get(key, 0).map_or(Claim::FREE, |row| row.claim)
    }

    fn set_waiting(&mut self, port: u16, waiting: bool) {
        self.ports.set(Set::Waiting, port, waiting);
    }
}

/// Keeps the errno, which tells a full table (`E2BIG`) from a lost privilege.
fn into_io(error: MapError) -> io::Error {
    match error {
        MapError::SyscallError(error) => error.io_error,
        other => io::Error::other(other),
    }
}
