//! Network namespaces other than this process's own: a guard for one runs on a thread inside it.

use std::{
    fs::{self, File},
    io,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::config::OWN_NAMESPACE;

/// Where ip-netns(8) keeps the names.
const NAMES: &str = "/run/netns";

/// Why a namespace could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// It is not there, or no namespace.
    #[error("cannot open the network namespace {}", path.display())]
    Open {
        /// The file that stands for it.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// It needs `CAP_SYS_ADMIN`.
    #[error("cannot enter the network namespace {}", path.display())]
    Enter {
        /// The file that stands for it.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Moves this thread into a network namespace, as `netns` in `[guard]` names it. What the thread
/// makes from then on, sockets and threads, is inside.
///
/// # Errors
///
/// There is no such namespace, or this process may not enter it.
pub fn enter(name: &str) -> Result<(), NamespaceError> {
    if name == OWN_NAMESPACE {
        return Ok(());
    }
    let path = if name.starts_with('/') {
        PathBuf::from(name)
    } else {
        Path::new(NAMES).join(name)
    };
    let namespace = File::open(&path).map_err(|source| NamespaceError::Open {
        path: path.clone(),
        source,
    })?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).map_err(
        |source| NamespaceError::Enter {
            path,
            source: source.into(),
        },
    )
}

/// What people call the network namespace with that number, if it has a name here.
pub fn name_of(namespace: u32) -> Option<String> {
    if own().is_ok_and(|own| own == namespace) {
        return Some("this one".to_owned());
    }
    let named = fs::read_dir(NAMES).into_iter().flatten().flatten();
    let is_it = |entry: &fs::DirEntry| {
        let found = fs::metadata(entry.path());
        found.is_ok_and(|found| found.ino() == u64::from(namespace))
    };
    named
        .filter(is_it)
        .find_map(|entry| entry.file_name().into_string().ok())
}

/// The number by which the kernel knows this thread's network namespace.
pub(super) fn own() -> Result<u32, NamespaceError> {
    let path = PathBuf::from("/proc/thread-self/ns/net");
    match fs::metadata(&path) {
        // Inode numbers of namespaces have 32 bits (include/linux/ns_common.h).
        Ok(found) => Ok(u32::try_from(found.ino()).unwrap_or(u32::MAX)),
        Err(source) => Err(NamespaceError::Open { path, source }),
    }
}
