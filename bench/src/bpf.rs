//! The empty eBPF programs that verdicts are measured against, by the bare system call: they are two
//! instructions, and have no place in the product's object. The only unsafe code of this package.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    time::Duration,
};

/// include/uapi/linux/bpf.h: commands, program types, flags.
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_TEST_RUN: libc::c_int = 10;
const BPF_F_XDP_HAS_FRAGS: u32 = 1 << 5;

/// What an empty program is for.
#[derive(Clone, Copy)]
pub(crate) enum Hook {
    Xdp,
    Tcx,
}

/// A loaded program that lets everything pass without looking.
pub(crate) struct Empty(OwnedFd);

/// `struct bpf_insn`, of which only the opcode and the immediate are needed here.
#[repr(C)]
#[derive(Clone, Copy)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
}

/// The beginning of `union bpf_attr` for `BPF_PROG_TEST_RUN`.
#[repr(C)]
struct RunAttributes {
    program: u32,
    return_value: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
}

impl Empty {
    /// Loads it; for XDP frags-aware, as ours is.
    pub(crate) fn load(hook: Hook) -> io::Result<Self> {
        // XDP_PASS is 2, TC_ACT_UNSPEC -1; BPF_PROG_TYPE_XDP is 6, BPF_PROG_TYPE_SCHED_CLS 3.
        let (program_type, flags, verdict) = match hook {
            Hook::Xdp => (6, BPF_F_XDP_HAS_FRAGS, 2),
            Hook::Tcx => (3, 0, -1),
        };
        // r0 = verdict; exit.
        let instructions = [(0xb7, verdict), (0x95, 0)].map(|(code, immediate)| Instruction {
            code,
            registers: 0,
            offset: 0,
            immediate,
        });
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
        let fd = bpf(BPF_PROG_LOAD, &mut attributes)?;
        // SAFETY: the call succeeded, so this is a descriptor that nobody else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Runs it `repeat` times over `frame`; the mean time of one run, as the kernel measured it.
    pub(crate) fn run(&self, frame: &[u8], repeat: u32) -> io::Result<Duration> {
        let mut attributes = RunAttributes {
            program: self.0.as_raw_fd() as u32,
            return_value: 0,
            data_size_in: frame.len() as u32,
            data_size_out: 0,
            data_in: frame.as_ptr() as u64,
            data_out: 0,
            repeat,
            duration: 0,
        };
        bpf(BPF_PROG_TEST_RUN, &mut attributes)?;
        Ok(Duration::from_nanos(attributes.duration.into()))
    }
}

fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<libc::c_int> {
    // SAFETY: `T` is a prefix of the kernel's union for this command and is as long as it is said to be;
    // the buffers it points to outlive the call, and the kernel only reads them.
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
