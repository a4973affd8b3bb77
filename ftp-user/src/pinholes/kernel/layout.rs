//! Where the running kernel keeps what the guard reads, from the type information that it carries
//! (BTF). aya's programs have no relocations of their own for this.

use std::{fs, io};

use btfparse::{Offset, Readable, TypeInformation};
use ftp_ebpf::abi::Layout;

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Why the kernel's structures are not known.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The kernel carries no type information.
    #[error(
        "cannot read {VMLINUX}: the guard needs a kernel built with CONFIG_DEBUG_INFO_BTF, as \
         those of all current distributions are"
    )]
    Read(#[source] io::Error),
    /// It is not understood.
    #[error("cannot make sense of {VMLINUX}: {0}")]
    Parse(String),
    /// A structure is not what it was.
    #[error(
        "this kernel has no `{path}` in `{structure}` where the guard knows how to read it: {why}. \
         Please report it with the kernel's version"
    )]
    Field {
        /// The structure.
        structure: &'static str,
        /// The member.
        path: &'static str,
        /// The parser's account.
        why: String,
    },
}

/// Bytes of a pointer.
const POINTER: usize = size_of::<u64>();

/// Reads the running kernel's layout.
pub(super) fn of_running_kernel() -> Result<Layout, LayoutError> {
    of_type_information(fs::read(VMLINUX).map_err(LayoutError::Read)?)
}

/// Each member with its size, as the kernel half reads it.
fn of_type_information(bytes: Vec<u8>) -> Result<Layout, LayoutError> {
    let types = TypeInformation::new(&Bytes(bytes))
        .map_err(|error| LayoutError::Parse(format!("{error:?}")))?;
    let at = |structure, path, size| member(&types, structure, path, Some(size));
    Ok(Layout {
        task_files: at("task_struct", "files", POINTER)?,
        task_start_time: at("task_struct", "start_time", size_of::<u64>())?,
        files_fdt: at("files_struct", "fdt", POINTER)?,
        fdtable_max_fds: at("fdtable", "max_fds", size_of::<u32>())?,
        fdtable_fd: at("fdtable", "fd", POINTER)?,
        file_inode: at("file", "f_inode", POINTER)?,
        file_private_data: at("file", "private_data", POINTER)?,
        inode_mode: at("inode", "i_mode", size_of::<u16>())?,
        socket_sk: at("socket", "sk", POINTER)?,
        socket_type: at("socket", "type", size_of::<u16>())?,
        sk_family: at("sock_common", "skc_family", size_of::<u16>())?,
        sk_state: at("sock_common", "skc_state", size_of::<u8>())?,
        sk_num: at("sock_common", "skc_num", size_of::<u16>())?,
        sk_daddr: at("sock_common", "skc_daddr", size_of::<u32>())?,
        sk_rcv_saddr: at("sock_common", "skc_rcv_saddr", size_of::<u32>())?,
        sk_v6_daddr: at("sock_common", "skc_v6_daddr", size_of::<[u32; 4]>())?,
        sk_v6_rcv_saddr: at("sock_common", "skc_v6_rcv_saddr", size_of::<[u32; 4]>())?,
        sk_net: at("sock_common", "skc_net", POINTER)?,
        net_inum: member(&types, "net", "ns", None)? + at("ns_common", "inum", size_of::<u32>())?,
        tcp_copied_seq: at("tcp_sock", "copied_seq", size_of::<u32>())?,
    })
}

/// Where a structure has a member of that size.
fn member(
    types: &TypeInformation,
    structure: &'static str,
    path: &'static str,
    size: Option<usize>,
) -> Result<u32, LayoutError> {
    let refused = |why: String| LayoutError::Field {
        structure,
        path,
        why,
    };
    let unknown = |error| refused(format!("{error:?}"));
    let id = types
        .id_of(structure)
        .ok_or_else(|| refused("no such structure".to_owned()))?;
    let (of, offset) = types.offset_of(id, path).map_err(unknown)?;
    let Offset::ByteOffset(offset) = offset else {
        return Err(refused("it is a bit field".to_owned()));
    };
    if let Some(expected) = size {
        let found = types.size_of(of).map_err(unknown)?;
        if found != expected {
            return Err(refused(format!("it has {found} bytes, not {expected}")));
        }
    }
    Ok(offset)
}

/// The type information in memory: the parser reads it in many small pieces.
struct Bytes(Vec<u8>);

impl Readable for Bytes {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> btfparse::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = start
            .checked_add(buffer.len())
            .and_then(|end| self.0.get(start..end))
            .ok_or_else(|| {
                btfparse::Error::new(btfparse::ErrorKind::IOError, "it ends too early")
            })?;
        buffer.copy_from_slice(found);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_is_understood() {
        let layout = of_running_kernel().unwrap();
        // A union at the start of `sock_common` since long ago (include/net/sock.h).
        assert_eq!((layout.sk_daddr, layout.sk_rcv_saddr), (0, 4));
        assert!(layout.task_files > 0 && layout.net_inum > 0);
    }

    #[test]
    fn type_information_that_ends_anywhere_is_an_error() {
        let whole = fs::read(VMLINUX).unwrap();
        for len in [0, 1, 24, 1000, whole.len() / 2, whole.len() - 1] {
            let cut = whole[..len].to_vec();
            assert!(of_type_information(cut).is_err(), "of {len} bytes");
        }
    }

    #[test]
    fn a_member_that_is_missing_or_of_another_size_is_an_error() {
        let whole = fs::read(VMLINUX).unwrap();
        let types = TypeInformation::new(&Bytes(whole)).unwrap();
        let said = |structure, path, size| {
            let error = member(&types, structure, path, Some(size)).unwrap_err();
            error.to_string()
        };
        let other_size = said("sock_common", "skc_state", 2);
        assert!(other_size.contains("it has 1 bytes, not 2"), "{other_size}");
        let missing = said("sock_common", "skc_pinhole", 2);
        assert!(
            missing.contains("`skc_pinhole` in `sock_common`"),
            "{missing}"
        );
        let nowhere = said("pinhole_common", "skc_state", 1);
        assert!(nowhere.contains("no such structure"), "{nowhere}");
    }
}
