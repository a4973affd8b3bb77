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

/// Reads the running kernel's layout.
pub(super) fn of_running_kernel() -> Result<Layout, LayoutError> {
    let bytes = fs::read(VMLINUX).map_err(LayoutError::Read)?;
    let types = TypeInformation::new(&Bytes(bytes))
        .map_err(|error| LayoutError::Parse(format!("{error:?}")))?;
    let at = |structure, path| offset(&types, structure, path);
    Ok(Layout {
        task_files: at("task_struct", "files")?,
        task_start_time: at("task_struct", "start_time")?,
        files_fdt: at("files_struct", "fdt")?,
        fdtable_max_fds: at("fdtable", "max_fds")?,
        fdtable_fd: at("fdtable", "fd")?,
        file_inode: at("file", "f_inode")?,
        file_private_data: at("file", "private_data")?,
        inode_mode: at("inode", "i_mode")?,
        socket_sk: at("socket", "sk")?,
        socket_type: at("socket", "type")?,
        sk_family: at("sock_common", "skc_family")?,
        sk_state: at("sock_common", "skc_state")?,
        sk_num: at("sock_common", "skc_num")?,
        sk_daddr: at("sock_common", "skc_daddr")?,
        sk_rcv_saddr: at("sock_common", "skc_rcv_saddr")?,
        sk_v6_daddr: at("sock_common", "skc_v6_daddr")?,
        sk_v6_rcv_saddr: at("sock_common", "skc_v6_rcv_saddr")?,
        sk_net: at("sock_common", "skc_net")?,
        net_inum: at("net", "ns")? + at("ns_common", "inum")?,
        tcp_copied_seq: at("tcp_sock", "copied_seq")?,
    })
}

fn offset(
    types: &TypeInformation,
    structure: &'static str,
    path: &'static str,
) -> Result<u32, LayoutError> {
    let refused = |why: String| LayoutError::Field {
        structure,
        path,
        why,
    };
    let id = types
        .id_of(structure)
        .ok_or_else(|| refused("no such structure".to_owned()))?;
    match types
        .offset_of(id, path)
        .map_err(|error| refused(format!("{error:?}")))?
    {
        (_, Offset::ByteOffset(offset)) => Ok(offset),
        (_, Offset::BitOffsetAndSize(..)) => Err(refused("it is a bit field".to_owned())),
    }
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
}
