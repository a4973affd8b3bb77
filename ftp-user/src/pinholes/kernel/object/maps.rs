//! The object's maps, each by its type. Whoever takes one has it: nobody else does.

use std::os::fd::AsFd as _;

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf, SockMap};
use ftp_ebpf::abi::{self, Address, Data, DataPort, Pinhole, PinholeKey};

use super::{super::shared_ports::SharedPorts, Object, ObjectError};

impl Object {
    /// The one table.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Missing`], [`ObjectError::Map`]; and so for every map below. Each may be
    /// taken once.
    pub fn pinholes(&mut self) -> Result<HashMap<MapData, PinholeKey, Pinhole>, ObjectError> {
        self.take(abi::map::PINHOLES)
    }

    /// Ports and policy.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`], and [`ObjectError::Mmap`].
    pub fn ports(&mut self) -> Result<SharedPorts, ObjectError> {
        let map = abi::map::PORTS;
        let Some(Map::Array(data)) = self.ebpf.map(map) else {
            return Err(ObjectError::Missing(map));
        };
        SharedPorts::map(data.fd().as_fd()).map_err(|source| ObjectError::Mmap { map, source })
    }

    /// The host's own addresses.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn local_addresses(&mut self) -> Result<HashMap<MapData, Address, u8>, ObjectError> {
        self.take(abi::map::LOCAL_ADDRESSES)
    }

    /// One counter for each reason.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn counters(&mut self) -> Result<PerCpuArray<MapData, u64>, ObjectError> {
        self.take(abi::map::COUNTERS)
    }

    /// How many denials may still be reported.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn denial_budget(&mut self) -> Result<PerCpuArray<MapData, u32>, ObjectError> {
        self.take(abi::map::DENIAL_BUDGET)
    }

    /// What happened.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn events(&mut self) -> Result<RingBuf<MapData>, ObjectError> {
        self.take(abi::map::EVENTS)
    }

    /// Where `steer` finds the listeners.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn listeners(&mut self) -> Result<SockMap<MapData>, ObjectError> {
        self.take(abi::map::LISTENERS)
    }

    /// Where `steer` finds their ports.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn listener_ports(&mut self) -> Result<Array<MapData, u16>, ObjectError> {
        self.take(abi::map::LISTENER_PORTS)
    }

    /// The guard's ports that are shut in any case.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn range(&mut self) -> Result<Array<MapData, u64>, ObjectError> {
        self.take(abi::map::RANGE)
    }

    /// The guard's ports of control connections.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn control_ports(&mut self) -> Result<Array<MapData, u64>, ObjectError> {
        self.take(abi::map::CONTROL_PORTS)
    }

    /// The guard's count of control connections.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn control_count(&mut self) -> Result<Array<MapData, u32>, ObjectError> {
        self.take(abi::map::CONTROL_COUNT)
    }

    /// The guard's sockets that listen for data connections.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn data_ports(&mut self) -> Result<HashMap<MapData, u64, Data>, ObjectError> {
        self.take(abi::map::DATA_PORTS)
    }

    /// How many of the guard's sockets listen on which port.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn data_port_counts(&mut self) -> Result<Array<MapData, u32>, ObjectError> {
        self.take(abi::map::DATA_PORT_COUNTS)
    }

    /// The guard's clients with a control connection.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn peers(&mut self) -> Result<HashMap<MapData, Address, u8>, ObjectError> {
        self.take(abi::map::PEERS)
    }

    /// The guard's listeners that were there before it.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn seeded(&mut self) -> Result<HashMap<MapData, DataPort, Data>, ObjectError> {
        self.take(abi::map::SEEDED)
    }

    /// What `pinhole trace` has seen.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn steps(&mut self) -> Result<RingBuf<MapData>, ObjectError> {
        self.take(abi::map::STEPS)
    }

    /// How much `pinhole trace` has missed.
    ///
    /// # Errors
    ///
    /// As for [`Object::pinholes`].
    pub fn lost(&mut self) -> Result<Array<MapData, u64>, ObjectError> {
        self.take(abi::map::LOST)
    }

    fn take<M>(&mut self, map: &'static str) -> Result<M, ObjectError>
    where
        M: TryFrom<Map, Error = MapError>,
    {
        let data = self.ebpf.take_map(map).ok_or(ObjectError::Missing(map))?;
        M::try_from(data).map_err(ObjectError::of_map(map))
    }
}
