//! A lock's link between its program and an interface, by bpf(2) itself: aya's links keep their
//! descriptors to themselves, and a lock's has to be handed to the process that takes over.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

/// Commands of bpf(2), attach types and flags (include/uapi/linux/bpf.h, if_link.h).
const BPF_OBJ_PIN: libc::c_int = 6;
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_LINK_UPDATE: libc::c_int = 29;
const BPF_XDP: u32 = 37;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_F_BEFORE: u32 = 1 << 3;
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// How a program hangs on an interface.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hook {
    /// XDP in the driver.
    NativeXdp,
    /// XDP in the network stack.
    GenericXdp,
    /// Traffic control, ingress, in front of the programs that are there.
    FirstTcx,
}

/// A link. The kernel detaches it when its last descriptor is closed and it is not pinned.
#[derive(Debug)]
pub(super) struct BpfLink(OwnedFd);

impl BpfLink {
    /// Attaches a program to the interface with that number.
    pub(super) fn new(program: BorrowedFd<'_>, index: u32, hook: Hook) -> io::Result<Self> {
        let (attach_type, flags) = match hook {
            Hook::NativeXdp => (BPF_XDP, XDP_FLAGS_DRV_MODE),
            Hook::GenericXdp => (BPF_XDP, XDP_FLAGS_SKB_MODE),
            Hook::FirstTcx => (BPF_TCX_INGRESS, BPF_F_BEFORE),
        };
        bpf(
            BPF_LINK_CREATE,
            &Create {
                program: number(program),
                index,
                attach_type,
                flags,
                relative: 0,
                expected_revision: 0,
            },
        )
        .and_then(descriptor)
    }

    /// Puts another program in the place of the one that is there: at no moment is there none.
    pub(super) fn update(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        bpf(
            BPF_LINK_UPDATE,
            &Update {
                link: number(self.0.as_fd()),
                program: number(program),
                flags: 0,
                expected_program: 0,
            },
        )
        .map(drop)
    }

    /// Pins it into a bpffs.
    pub(super) fn pin(&self, path: &Path) -> io::Result<()> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        bpf(
            BPF_OBJ_PIN,
            &Pinned {
                path: path.as_ptr().addr() as u64,
                object: number(self.0.as_fd()),
                flags: 0,
            },
        )
        .map(drop)
    }

    /// What is pinned at `path`.
    pub(super) fn from_pin(path: &Path) -> io::Result<Self> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        bpf(
            BPF_OBJ_GET,
            &Pinned {
                path: path.as_ptr().addr() as u64,
                object: 0,
                flags: 0,
            },
        )
        .and_then(descriptor)
    }
}

impl From<OwnedFd> for BpfLink {
    /// Takes a link that another process has made.
    fn from(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }
}

impl AsFd for BpfLink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Parts of `union bpf_attr`, without padding.
#[repr(C)]
struct Create {
    program: u32,
    index: u32,
    attach_type: u32,
    flags: u32,
    relative: u64,
    expected_revision: u64,
}

#[repr(C)]
struct Update {
    link: u32,
    program: u32,
    flags: u32,
    expected_program: u32,
}

#[repr(C)]
struct Pinned {
    path: u64,
    object: u32,
    flags: u32,
}

fn number(descriptor: BorrowedFd<'_>) -> u32 {
    // Never negative, because it is open.
    descriptor.as_raw_fd().unsigned_abs()
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_long> {
    // SAFETY: `attributes` is one of the structures above: as long as it is said to be, initialised
    // throughout, and what its path points to lives until the call returns. The kernel only reads.
    let done =
        unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of_val(attributes)) };
    match done {
        ..0 => Err(io::Error::last_os_error()),
        done => Ok(done),
    }
}

fn descriptor(returned: libc::c_long) -> io::Result<BpfLink> {
    let raw = RawFd::try_from(returned).map_err(io::Error::other)?;
    // SAFETY: the kernel has just opened it for this call, and nobody else knows of it.
    Ok(BpfLink(unsafe { OwnedFd::from_raw_fd(raw) }))
}
