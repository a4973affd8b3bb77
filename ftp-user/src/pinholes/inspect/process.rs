//! Which programs a process holds, and which maps are theirs. That `/proc/PID/fdinfo` tells
//! (kernel/bpf/syscall.c, `bpf_prog_show_fdinfo`), and the kernel.

use std::{collections::HashSet, ffi::CStr, path::Path};

use aya::{
    maps::MapInfo,
    programs::{ProgramInfo, loaded_programs},
};

use super::{super::proc, InspectError, unreadable};

/// As `/proc/PID/comm` has it.
const PROGRAM: &CStr = c"pinhole";

/// Lets [`processes`] find this process, whatever the file is called that it was started from. To be
/// called by its first thread.
pub fn announce() {
    // Without it, the process keeps its file's name, which mostly is the same.
    let _ = rustix::thread::set_name(PROGRAM);
}

/// Every process of this program's name, whatever it does.
///
/// # Errors
///
/// `/proc` cannot be read.
pub fn processes() -> Result<Vec<u32>, InspectError> {
    let pids = proc::pids().map_err(unreadable(Path::new("/proc")))?;
    Ok(pids
        .filter(|&pid| proc::name(pid).as_bytes() == PROGRAM.to_bytes())
        .collect())
}

/// The number of the program that a descriptor is of, or that the link is attached with that it is of.
pub(in crate::pinholes) fn program_id(fdinfo: &str) -> Option<u32> {
    let id = fdinfo
        .lines()
        .find_map(|line| line.strip_prefix("prog_id:"))?;
    id.trim().parse().ok()
}

/// The programs that a process holds.
pub(in crate::pinholes) struct Programs(Vec<ProgramInfo>);

impl Programs {
    pub(in crate::pinholes) fn of(pid: u32) -> Result<Self, InspectError> {
        let path = Path::new("/proc").join(pid.to_string()).join("fdinfo");
        let descriptors = proc::fdinfo(&path).map_err(unreadable(&path))?;
        let held: HashSet<u32> = descriptors
            .filter(|(_, info)| !info.contains("link_id:"))
            .filter_map(|(_, info)| program_id(&info))
            .collect();
        if held.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let loaded = loaded_programs().filter_map(Result::ok);
        Ok(Self(
            loaded
                .filter(|program| held.contains(&program.id()))
                .collect(),
        ))
    }

    /// Whether the one with that number is among them.
    pub(in crate::pinholes) fn has(&self, id: u32) -> bool {
        self.0.iter().any(|program| program.id() == id)
    }

    /// Those of that name: one for each network namespace that the process is in.
    pub(in crate::pinholes) fn named(
        &self,
        name: &'static str,
    ) -> impl Iterator<Item = &ProgramInfo> {
        let programs = self.0.iter();
        programs.filter(move |program| program.name_as_str() == Some(name))
    }
}

/// The maps that a program works on: name (the kernel keeps 15 bytes of it) and number.
pub(in crate::pinholes) struct Maps(Vec<(String, u32)>);

impl Maps {
    pub(in crate::pinholes) fn of(program: &ProgramInfo) -> Result<Self, InspectError> {
        let ids = program.map_ids().map_err(|source| InspectError::Program {
            source: Box::new(source),
        })?;
        let named = ids.unwrap_or_default().into_iter().filter_map(|id| {
            let info = MapInfo::from_id(id).ok()?;
            Some((info.name_as_str()?.to_owned(), id))
        });
        Ok(Self(named.collect()))
    }

    pub(in crate::pinholes) fn id(&self, map: &str) -> Option<u32> {
        let mut maps = self.0.iter();
        maps.find_map(|(name, id)| (name == map).then_some(*id))
    }
}
