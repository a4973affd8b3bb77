//! A running daemon's maps, for scenarios that write to them. What is only read, `inspect` reads.

use std::fs;

use anyhow::{Result, bail};
use aya::{
    Pod,
    maps::{HashMap, Map, MapData, MapInfo},
};

/// The hash of this name that a process holds.
pub fn hash<K: Pod, V: Pod>(pid: u32, name: &str) -> Result<HashMap<MapData, K, V>> {
    for held in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // Closed meanwhile.
        let Ok(info) = fs::read_to_string(held?.path()) else {
            continue;
        };
        let id = info.lines().find_map(|line| line.strip_prefix("map_id:"));
        let Some(id) = id else { continue };
        let id = id.trim().parse()?;
        if MapInfo::from_id(id)?.name_as_str() == Some(name) {
            let data = MapData::from_id(id)?;
            return Ok(Map::HashMap(data).try_into()?);
        }
    }
    bail!("process {pid} holds no {name}")
}
