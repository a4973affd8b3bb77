//! Events that the kernel half has missed. Linux runs no program at a perf tracepoint on a CPU on which
//! another one is at work, or a bpf(2) call on a map (kernel/trace/bpf_trace.c, `trace_call_bpf`): an
//! interrupt there has its events counted, and unseen.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    path::PathBuf,
};

use ftp_ebpf::abi::program;

use super::super::{Object, ObjectError};

/// Looks for them.
pub(super) struct Misses {
    /// What the kernel tells of the program that watches sockets.
    info: PathBuf,
    known: u64,
}

impl Misses {
    /// Of the guard's program.
    pub(super) fn of(object: &mut Object) -> Result<Self, ObjectError> {
        let name = program::GUARD_STATE;
        let descriptor = object.tracepoint(name)?.fd();
        let descriptor = descriptor.map_err(|source| ObjectError::Program {
            program: name,
            source: Box::new(source),
        })?;
        let number = descriptor.as_fd().as_raw_fd();
        Ok(Self {
            info: PathBuf::from(format!("/proc/self/fdinfo/{number}")),
            known: 0,
        })
    }

    /// How many there have been since the last look.
    pub(super) fn look(&mut self) -> u64 {
        let info = fs::read_to_string(&self.info).unwrap_or_default();
        let all = read(&info).unwrap_or(self.known);
        let more = all.saturating_sub(self.known);
        self.known = all;
        more
    }
}

/// kernel/bpf/syscall.c, `bpf_prog_show_fdinfo`.
fn read(info: &str) -> Option<u64> {
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("recursion_misses:"));
    line?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_count_is_read() {
        let info = "prog_type:\t5\nrun_cnt:\t10\nrecursion_misses:\t42\nverified_insns:\t5\n";
        assert_eq!(read(info), Some(42));
        assert_eq!(read("prog_type:\t5\n"), None);
    }
}
