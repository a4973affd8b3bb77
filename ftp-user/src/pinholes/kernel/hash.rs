//! What holds for every hash map of the kernel's that several write to.

use std::io;

use aya::{
    Pod,
    maps::{HashMap, MapData, MapError},
};

/// Never write over an entry: `BPF_NOEXIST` (include/uapi/linux/bpf.h).
pub(super) const NOEXIST: u64 = 1;

/// Removes an entry; that it is gone already is no error.
pub(super) fn remove<K: Pod, V: Pod>(
    map: &mut HashMap<MapData, K, V>,
    key: &K,
) -> Result<(), MapError> {
    match map.remove(key) {
        // Not `MapError::KeyNotFound`, which only a lookup gives.
        Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {
            Ok(())
        }
        removed => removed,
    }
}
