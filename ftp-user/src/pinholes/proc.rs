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

/// A process's name, as `/proc/PID/comm` has it; empty if it has ended. Every process names itself: what
/// could begin a line in a log, or colour it, is a question mark.
pub(super) fn name(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm"));
    let name = name.unwrap_or_default();
    let harmless = |letter: char| if letter.is_control() { '?' } else { letter };
    name.trim().chars().map(harmless).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_whatever_it_is() {
        let (tell, told) = std::sync::mpsc::channel();
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let named = std::thread::Builder::new().name("a\n\u{1b}[31mb".to_owned());
        let thread = named.spawn(move || {
            tell.send(rustix::thread::gettid()).unwrap();
            wait.recv()
        });
        // A thread's own name is where a process's is, under its number.
        let id = told.recv().unwrap().as_raw_nonzero().get();
        assert_eq!(name(id.try_into().unwrap()), "a??[31mb");
        drop(go_on);
        thread.unwrap().join().unwrap().unwrap_err();
    }
}
