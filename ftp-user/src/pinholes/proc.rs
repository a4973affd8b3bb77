//! `/proc`: which processes there are, and what it says of their descriptors. What that means is for
//! others to know.

use std::{fs, io, path::Path};

/// The processes that there are.
///
/// # Errors
///
/// `/proc` cannot be read.
pub(super) fn pids() -> io::Result<impl Iterator<Item = u32>> {
    let entries = fs::read_dir("/proc")?.flatten();
    Ok(entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

/// A process's name, as `/proc/PID/comm` has it; empty if it has ended.
pub(super) fn name(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm"));
    name.unwrap_or_default().trim().to_owned()
}

/// What a folder `/proc/PID/fdinfo` says of each descriptor, by its number. Those that are closed
/// meanwhile are left out.
///
/// # Errors
///
/// The folder cannot be read: the process has ended, or is somebody else's.
pub(super) fn fdinfo(folder: &Path) -> io::Result<impl Iterator<Item = (u32, String)> + use<>> {
    let entries = fs::read_dir(folder)?.flatten();
    Ok(entries.filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some((number, fs::read_to_string(entry.path()).ok()?))
    }))
}
