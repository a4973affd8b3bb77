//! What a guard's tables have beside the pinholes: its data ports, its tallies, and the control
//! connections that it knows of.

use std::{collections::BTreeMap, net::IpAddr};

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray};
use ftp_ebpf::{
    abi::{Data, Ports, control_count, map, policy},
    guard::Tally,
};

use super::{InspectError, Tables, refused};

/// How many control connections a guard knows of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Controls {
    /// Those that it has seen begin and not end.
    pub seen: u32,
    /// There may be others, which began before it.
    pub older: bool,
}

/// A port that is guarded because a server listens on it for data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The port.
    pub port: u16,
    /// What became of it, by the name of its [`Tally`].
    pub outcome: &'static str,
    /// Who may come; none where it is shut, or open to every client with a control connection.
    pub client: Option<IpAddr>,
    /// Its pinhole still waits: no connection has come by it.
    pub waits: bool,
}

impl Tables {
    /// The ports that a guard shuts because a server listens on them, by number; `None` where there
    /// is no guard.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn listeners(&self) -> Result<Option<Vec<Listener>>, InspectError> {
        let Some(guard) = &self.guard else {
            return Ok(None);
        };
        let mut listeners = Vec::new();
        for found in guard.data_ports.iter() {
            let (_, data) = found.map_err(refused(map::DATA_PORTS))?;
            let tally = Tally::from_number(data.tally.into());
            let (tally, outcome) = tally.unwrap_or((Tally::NoControl, "unknown"));
            let waits = match self.pinholes.get(&data.key, 0) {
                Ok(row) => row.session == data.session,
                Err(MapError::KeyNotFound) => false,
                Err(source) => return Err(refused(map::PINHOLES)(source)),
            };
            listeners.push(Listener {
                port: data.port,
                outcome,
                client: (tally == Tally::Opened).then(|| data.key.client.into()),
                waits,
            });
        }
        listeners.sort_by_key(|listener| listener.port);
        Ok(Some(listeners))
    }

    /// Whether a guard drops nothing; `None` where there is no guard.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn is_dry_run(&self) -> Result<Option<bool>, InspectError> {
        let Some(guard) = &self.guard else {
            return Ok(None);
        };
        let ports = guard.ports.get(&0, 0).map_err(refused(map::PORTS))?;
        Ok(Some(ports.policy & policy::DRY_RUN != 0))
    }

    /// How many control connections the guard knows of; `None` where there is no guard.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn controls(&self) -> Result<Option<Controls>, InspectError> {
        let Some(guard) = &self.guard else {
            return Ok(None);
        };
        let count = |which| {
            let count = guard.control_count.get(&which, 0);
            count.map_err(refused(map::CONTROL_COUNT))
        };
        Ok(Some(Controls {
            seen: count(control_count::SEEN)?,
            older: count(control_count::OLDER)? != 0,
        }))
    }

    /// How many changes of sockets the guard was not shown by the kernel, as far as it knows; `None`
    /// where there is no guard.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn missed(&self) -> Result<Option<u32>, InspectError> {
        let Some(guard) = &self.guard else {
            return Ok(None);
        };
        let missed = guard.control_count.get(&control_count::MISSED, 0);
        Ok(Some(missed.map_err(refused(map::CONTROL_COUNT))?))
    }

    /// Inode number of the network namespace that is guarded; `None` where there is no guard.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn namespace(&self) -> Result<Option<u32>, InspectError> {
        let Some(guard) = &self.guard else {
            return Ok(None);
        };
        let namespace = guard.control_count.get(&control_count::NAMESPACE, 0);
        Ok(Some(namespace.map_err(refused(map::CONTROL_COUNT))?))
    }

    /// How many data ports had which outcome, over all CPUs, by the name of its [`Tally`]; `None`
    /// where there is no guard.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn tallies(&self) -> Result<Option<BTreeMap<&'static str, u64>>, InspectError> {
        let Some(guard) = &self.guard else {
            return Ok(None);
        };
        let mut tallies = BTreeMap::new();
        for (tally, name) in Tally::ALL {
            let values = guard.tallies.get(&(tally as u32), 0);
            let values = values.map_err(refused(map::TALLIES))?;
            tallies.insert(name, values.iter().sum());
        }
        Ok(Some(tallies))
    }
}

/// What a guard has beside.
pub(super) struct GuardTables {
    data_ports: HashMap<MapData, u64, Data>,
    tallies: PerCpuArray<MapData, u64>,
    control_count: Array<MapData, u32>,
    ports: Array<MapData, Ports>,
}

impl GuardTables {
    pub(super) fn open(
        open: impl Fn(&'static str) -> Result<MapData, InspectError>,
    ) -> Result<Self, InspectError> {
        Ok(Self {
            data_ports: Map::HashMap(open(map::DATA_PORTS)?)
                .try_into()
                .map_err(refused(map::DATA_PORTS))?,
            tallies: Map::PerCpuArray(open(map::TALLIES)?)
                .try_into()
                .map_err(refused(map::TALLIES))?,
            control_count: Map::Array(open(map::CONTROL_COUNT)?)
                .try_into()
                .map_err(refused(map::CONTROL_COUNT))?,
            ports: Map::Array(open(map::PORTS)?)
                .try_into()
                .map_err(refused(map::PORTS))?,
        })
    }
}
