//! Programs and maps by the bare system call.

mod attributes;

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    time::Duration,
};

use self::attributes::{
    ElementAttributes, LinkAttributes, LoadAttributes, MapAttributes, RunAttributes,
};
use super::instruction::{Instruction, R0, exit, set};

/// include/uapi/linux/bpf.h: commands, program types, flags.
const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_TEST_RUN: libc::c_int = 10;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_ENABLE_STATS: libc::c_int = 32;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_F_XDP_HAS_FRAGS: u32 = 1 << 5;
const BPF_F_TEST_XDP_LIVE_FRAMES: u32 = 1 << 1;
const BPF_XDP: u32 = 37;
/// include/uapi/linux/if_link.h
const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// What a program is for.
#[derive(Clone, Copy)]
pub(crate) enum Hook {
    Xdp,
    Tcx,
}

/// Where an XDP program runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Native,
    Generic,
}

/// What an XDP program may do with every packet.
#[derive(Clone, Copy)]
pub(crate) enum XdpAction {
    Drop = 1,
}

/// A loaded program.
pub(crate) struct Program(OwnedFd);

/// An array map with one row of 8 bytes, zero at first.
pub(crate) struct Cell(OwnedFd);

/// A program on an interface, until it is dropped.
pub(crate) struct Attached {
    _link: OwnedFd,
}

impl Program {
    /// Lets everything pass without looking.
    pub(crate) fn empty(hook: Hook) -> io::Result<Self> {
        // XDP_PASS is 2, TC_ACT_UNSPEC -1.
        let verdict = match hook {
            Hook::Xdp => 2,
            Hook::Tcx => -1,
        };
        Self::load(hook, &[set(R0, verdict), exit()])
    }

    /// Does the same with every packet.
    pub(crate) fn always(action: XdpAction) -> io::Result<Self> {
        Self::load(Hook::Xdp, &[set(R0, action as i32), exit()])
    }

    /// Loads instructions; for XDP frags-aware, as ours is.
    pub(super) fn load(hook: Hook, instructions: &[Instruction]) -> io::Result<Self> {
        // BPF_PROG_TYPE_XDP is 6, BPF_PROG_TYPE_SCHED_CLS 3.
        let (program_type, flags) = match hook {
            Hook::Xdp => (6, BPF_F_XDP_HAS_FRAGS),
            Hook::Tcx => (3, 0),
        };
        let license = c"GPL";
        let mut attributes = LoadAttributes {
            program_type,
            instruction_count: instructions.len() as u32,
            instructions: instructions.as_ptr() as u64,
            license: license.as_ptr() as u64,
            log_level: 0,
            log_size: 0,
            log_buffer: 0,
            kernel_version: 0,
            flags,
        };
        match bpf(BPF_PROG_LOAD, &mut attributes) {
            Ok(fd) => Ok(Self(fd)),
            Err(refusal) => {
                // Once more, to hear why.
                let mut log = vec![0_u8; 16 << 20];
                attributes.log_level = 1;
                attributes.log_size = log.len() as u32;
                attributes.log_buffer = log.as_mut_ptr() as u64;
                match bpf(BPF_PROG_LOAD, &mut attributes) {
                    Ok(fd) => Ok(Self(fd)),
                    Err(_) => Err(refused(refusal, &log)),
                }
            }
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Runs it `repeat` times over `frame`; the mean time of one run, as the kernel measured it.
    pub(crate) fn run(&self, frame: &[u8], repeat: u32) -> io::Result<Duration> {
        let done = self.run_attributes(frame, repeat)?;
        Ok(Duration::from_nanos(done.duration.into()))
    }

    /// What it says of `frame`, by its number.
    pub(super) fn verdict(&self, frame: &[u8]) -> io::Result<u32> {
        Ok(self.run_attributes(frame, 1)?.return_value)
    }

    fn run_attributes(&self, frame: &[u8], repeat: u32) -> io::Result<RunAttributes> {
        let mut attributes = RunAttributes {
            program: self.0.as_raw_fd() as u32,
            data_size_in: frame.len() as u32,
            data_in: frame.as_ptr() as u64,
            repeat,
            ..RunAttributes::default()
        };
        call(BPF_PROG_TEST_RUN, &mut attributes)?;
        Ok(attributes)
    }

    /// Runs it `repeat` times over copies of `frame` that are real: what it redirects is sent.
    pub(super) fn run_live(&self, frame: &[u8], repeat: u32) -> io::Result<()> {
        let mut attributes = RunAttributes {
            program: self.0.as_raw_fd() as u32,
            data_size_in: frame.len() as u32,
            data_in: frame.as_ptr() as u64,
            repeat,
            flags: BPF_F_TEST_XDP_LIVE_FRAMES,
            ..RunAttributes::default()
        };
        call(BPF_PROG_TEST_RUN, &mut attributes).map(drop)
    }

    /// Attaches an XDP program to an interface of the calling thread's network namespace.
    pub(crate) fn attach(&self, interface: u32, mode: Mode) -> io::Result<Attached> {
        let mut attributes = LinkAttributes {
            program: self.0.as_raw_fd() as u32,
            target: interface,
            attach_type: BPF_XDP,
            flags: match mode {
                Mode::Native => XDP_FLAGS_DRV_MODE,
                Mode::Generic => XDP_FLAGS_SKB_MODE,
            },
        };
        let link = bpf(BPF_LINK_CREATE, &mut attributes)?;
        Ok(Attached { _link: link })
    }
}

impl Cell {
    pub(super) fn new() -> io::Result<Self> {
        let mut attributes = MapAttributes {
            map_type: BPF_MAP_TYPE_ARRAY,
            key_size: 4,
            value_size: 8,
            max_entries: 1,
        };
        bpf(BPF_MAP_CREATE, &mut attributes).map(Self)
    }

    pub(super) fn get(&self) -> io::Result<u64> {
        let mut value = 0_u64;
        self.element(BPF_MAP_LOOKUP_ELEM, std::ptr::from_mut(&mut value) as u64)?;
        Ok(value)
    }

    pub(super) fn set(&self, value: u64) -> io::Result<()> {
        self.element(BPF_MAP_UPDATE_ELEM, std::ptr::from_ref(&value) as u64)
    }

    /// `value` is the address of a u64.
    fn element(&self, command: libc::c_int, value: u64) -> io::Result<()> {
        let key = 0_u32;
        let mut attributes = ElementAttributes {
            map: self.0.as_raw_fd() as u32,
            zero: 0,
            key: std::ptr::from_ref(&key) as u64,
            value,
            flags: 0,
        };
        call(command, &mut attributes).map(drop)
    }

    pub(super) fn fd(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

/// Has the kernel count how often and how long programs run, for as long as the descriptor is open.
pub(super) fn enable_statistics() -> io::Result<OwnedFd> {
    // BPF_STATS_RUN_TIME
    let mut kind = 0_u32;
    bpf(BPF_ENABLE_STATS, &mut kind)
}

/// The kernel's error with the verifier's last words.
fn refused(error: io::Error, log: &[u8]) -> io::Error {
    let said = String::from_utf8_lossy(log);
    let said = said.trim_end_matches('\0').trim_end();
    let last: Vec<&str> = said.lines().rev().take(3).collect();
    io::Error::new(error.kind(), format!("{error}: {}", last.join(" | ")))
}

fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<OwnedFd> {
    let fd = call(command, attributes)?;
    // SAFETY: the call succeeded, so this is a descriptor that nobody else owns; it is only asked for
    // with commands that return one.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn call<T>(command: libc::c_int, attributes: &mut T) -> io::Result<libc::c_int> {
    // SAFETY: `T` is a prefix of the kernel's union for this command and is as long as it is said to be;
    // the buffers it points to outlive the call and are as long as it says.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    libc::c_int::try_from(result).map_err(io::Error::other)
}
