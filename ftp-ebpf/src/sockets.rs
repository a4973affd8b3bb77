//! Reading the kernel's own structures, at the offsets that its BTF tells: the sockets among a
//! process's descriptors, and whose they are.
//!
//! Another thread may change the descriptor table meanwhile. Every read goes through
//! `bpf_probe_read_kernel`, which fails where there is no memory; what is read from memory that
//! has just been freed is checked to look like a control connection before it counts.

use aya_ebpf::helpers::{bpf_get_current_task, bpf_probe_read_kernel};
use ftp_ebpf::{
    abi::Address,
    guard::{Control, Found, LastRead},
};

use crate::guard_maps::{CONTROL_PORTS, LAYOUT, NAMESPACE, WALK, has_port};

/// Descriptors looked at, from 0 up. A process with one client holds its control connection among
/// the first.
const MAX_DESCRIPTORS: u32 = 1024;
/// Descriptors read at a time.
const BATCH: usize = 16;

const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;
const SOCK_STREAM: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// Socket states (include/net/tcp_states.h).
const TCP_ESTABLISHED: u8 = 1;
const TCP_CLOSE_WAIT: u8 = 8;

/// Scratch of one walk.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Walk {
    /// 0 nothing, 1 one client, 2 several.
    clients: u32,
    control: Control,
}

/// The control connections of the process that runs.
#[inline(always)]
pub(crate) fn control_connections() -> Found {
    let Some(walk) = WALK.get_ptr_mut(0) else {
        return Found::None;
    };
    // SAFETY: this CPU's own value; tracepoints run with preemption off, and do not nest.
    unsafe { (*walk).clients = 0 };
    let whole = walk_descriptors();
    // SAFETY: as above.
    unsafe {
        match (*walk).clients {
            0 => Found::None,
            1 if whole.is_some() => Found::One((*walk).control),
            // Among the descriptors that were not looked at there may be another client's.
            _ => Found::Several,
        }
    }
}

/// Looks at the process's descriptors; `None` where some were left out.
#[inline(always)]
fn walk_descriptors() -> Option<()> {
    let (count, descriptors) = descriptors()?;
    let mut first = 0_u32;
    while first < MAX_DESCRIPTORS {
        if first >= count {
            return Some(());
        }
        let files: [u64; BATCH] = field(descriptors, first * 8)?;
        for file in files {
            if file != 0 {
                consider_file(file);
            }
        }
        first += BATCH as u32;
    }
    (count <= MAX_DESCRIPTORS).then_some(())
}

/// How many descriptors the process that runs may have at present, and where their files are.
#[inline(always)]
fn descriptors() -> Option<(u32, u64)> {
    let layout = LAYOUT.load();
    // SAFETY: no arguments.
    let task = unsafe { bpf_get_current_task() };
    let files: u64 = field(task, layout.task_files)?;
    let table: u64 = field(files, layout.files_fdt)?;
    Some((
        field(table, layout.fdtable_max_fds)?,
        field(table, layout.fdtable_fd)?,
    ))
}

/// Adds a descriptor's file to the walk, if it is a control connection. A global function: the
/// verifier follows it once by itself, knowing nothing of its callers.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn consider_file(file: u64) -> u64 {
    let Some(control) = control_of_file(file) else {
        return 0;
    };
    if let Some(walk) = WALK.get_ptr_mut(0) {
        // SAFETY: as in `control_connections`.
        unsafe {
            let found = match (*walk).clients {
                0 => Found::None,
                1 => Found::One((*walk).control),
                _ => Found::Several,
            };
            match found.and(control) {
                Found::None => {}
                Found::One(control) => {
                    (*walk).clients = 1;
                    (*walk).control = control;
                }
                Found::Several => (*walk).clients = 2,
            }
        }
    }
    0
}

#[inline(always)]
fn control_of_file(file: u64) -> Option<Control> {
    let sk = socket_of_file(file)?;
    control_of_socket(sk).filter(|_| is_in_namespace(sk))
}

/// The `struct sock` of a stream socket's file.
#[inline(always)]
fn socket_of_file(file: u64) -> Option<u64> {
    let layout = LAYOUT.load();
    let inode: u64 = field(file, layout.file_inode)?;
    let mode: u16 = field(inode, layout.inode_mode)?;
    if mode & S_IFMT != S_IFSOCK {
        return None;
    }
    let socket: u64 = field(file, layout.file_private_data)?;
    let kind: u16 = field(socket, layout.socket_type)?;
    if kind != SOCK_STREAM {
        return None;
    }
    field(socket, layout.socket_sk)
}

/// The control connection that a `struct sock` is, if it is one, of whatever network namespace.
#[inline(always)]
pub(crate) fn control_of_socket(sk: u64) -> Option<Control> {
    let layout = LAYOUT.load();
    let port: u16 = field(sk, layout.sk_num)?;
    if !is_control_port(port) {
        return None;
    }
    let state: u8 = field(sk, layout.sk_state)?;
    if state != TCP_ESTABLISHED && state != TCP_CLOSE_WAIT {
        return None;
    }
    match field::<u16>(sk, layout.sk_family)? {
        AF_INET => Some(Control {
            client: Address::v4(field(sk, layout.sk_daddr)?),
            server: Address::v4(field(sk, layout.sk_rcv_saddr)?),
        }),
        AF_INET6 => Some(Control {
            client: Address(field(sk, layout.sk_v6_daddr)?),
            server: Address(field(sk, layout.sk_v6_rcv_saddr)?),
        }),
        _ => None,
    }
}

/// Whether a `struct sock` is of the guarded network namespace.
#[inline(always)]
pub(crate) fn is_in_namespace(sk: u64) -> bool {
    let layout = LAYOUT.load();
    let inum = field::<u64>(sk, layout.sk_net).and_then(|net| field::<u32>(net, layout.net_inum));
    inum == Some(NAMESPACE.load())
}

/// The `struct sock` behind a descriptor of the process that runs, if it is a stream socket's.
#[inline(always)]
pub(crate) fn socket_of_descriptor(descriptor: u32) -> Option<u64> {
    let (_, descriptors) = descriptors()?;
    socket_of_file(field(descriptors, descriptor.wrapping_mul(8))?)
}

/// Up to which sequence number a TCP socket's process has taken what came.
#[inline(always)]
pub(crate) fn copied_seq(sk: u64) -> Option<u32> {
    field(sk, LAYOUT.load().tcp_copied_seq)
}

/// When the running thread began, by the kernel's own count.
#[inline(always)]
pub(crate) fn thread_began_ns() -> Option<u64> {
    // SAFETY: no arguments.
    let task = unsafe { bpf_get_current_task() };
    field(task, LAYOUT.load().task_start_time)
}

/// The control connection that was remembered of the running thread's last read, if that is this
/// thread's and still true.
#[inline(always)]
pub(crate) fn still(read: &LastRead) -> Option<&'static Control> {
    let walk = WALK.get_ptr_mut(0)?;
    // A copy, because the memory may become another thread's; and in the scratch, because of an absent
    // value the compiler would copy registers that nobody has written, which the verifier refuses.
    // SAFETY: as in `control_connections`, which is not asked when this knows.
    let control = unsafe {
        (*walk).control = read.control;
        &(*walk).control
    };
    let mine = thread_began_ns() == Some(read.thread_began_ns);
    (mine && control_of_socket(read.socket).as_ref() == Some(control)).then_some(control)
}

/// Whether it is a port of control connections, host byte order.
#[inline(always)]
pub(crate) fn is_control_port(port: u16) -> bool {
    has_port(&CONTROL_PORTS, port)
}

/// Reads a field of a kernel structure.
#[inline(always)]
fn field<T: Copy>(base: u64, offset: u32) -> Option<T> {
    // SAFETY: the helper checks the address; T is an integer, or an array of integers.
    unsafe { bpf_probe_read_kernel((base + u64::from(offset)) as *const T) }.ok()
}
