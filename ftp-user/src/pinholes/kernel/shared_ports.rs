//! The one value of the kernel's `PORTS` map, shared by mmap: a port opens or closes without a
//! system call.

use std::{
    io,
    mem::offset_of,
    os::fd::{AsRawFd as _, BorrowedFd},
    sync::atomic::{AtomicU64, Ordering},
};

use ftp_ebpf::abi::Ports;
use memmap2::{MmapOptions, MmapRaw};

/// The mapping. Words are read and written as atomics, because the kernel reads them meanwhile.
pub struct SharedPorts(MmapRaw);

/// One of the two sets of ports.
#[derive(Clone, Copy, Debug)]
pub enum Set {
    /// Shut unless negotiated.
    Guarded,
    /// At least one pinhole waits.
    Waiting,
}

impl SharedPorts {
    /// Maps the value of the `PORTS` map.
    ///
    /// # Errors
    ///
    /// The kernel's: `EPERM` where the map was not made to be mapped, `ENOMEM`.
    pub(super) fn map(map: BorrowedFd<'_>) -> io::Result<Self> {
        MmapOptions::new()
            .len(size_of::<Ports>())
            .map_raw(map.as_raw_fd())
            .map(Self)
    }

    /// Adds or removes `port`. A word holds other ports' bits, which others change meanwhile: other
    /// threads, and under a guard the kernel half.
    pub fn set(&self, set: Set, port: u16, member: bool) {
        let word = self.word(offset(set, port));
        // Release: whoever sees the port as waiting must find its row.
        if member {
            word.fetch_or(Ports::bit(port), Ordering::Release);
        } else {
            word.fetch_and(!Ports::bit(port), Ordering::Release);
        }
    }

    /// Whether `port` is in the set.
    pub fn has(&self, set: Set, port: u16) -> bool {
        self.word(offset(set, port)).load(Ordering::Acquire) & Ports::bit(port) != 0
    }

    /// The policy bits.
    pub fn policy(&self) -> u64 {
        let word = self.word(offset_of!(Ports, policy));
        word.load(Ordering::Acquire)
    }

    /// Replaces the policy bits.
    pub fn set_policy(&self, policy: u64) {
        self.word(offset_of!(Ports, policy))
            .store(policy, Ordering::Release);
    }

    fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset + size_of::<u64>() <= self.0.len() && offset.is_multiple_of(8));
        // SAFETY: inside the mapping (checked above), which is page-aligned and lives as long as
        // `self`; nobody reads or writes it but through atomics here and whole words in BPF.
        unsafe { AtomicU64::from_ptr(self.0.as_mut_ptr().add(offset).cast()) }
    }
}

/// Of the word that holds `port`.
fn offset(set: Set, port: u16) -> usize {
    let base = match set {
        Set::Guarded => offset_of!(Ports, guarded),
        Set::Waiting => offset_of!(Ports, waiting),
    };
    base + Ports::word(port) * size_of::<u64>()
}
