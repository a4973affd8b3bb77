//! A packet's bytes between `data` and `data_end`, behind the bounds check that the verifier
//! wants to see.

use core::arch::asm;

use ftp_ebpf::packet::{Frame, Raw};

/// The directly readable part of a packet, for as long as the program runs and does not move it.
#[derive(Clone, Copy)]
pub(crate) struct Direct {
    data: usize,
    data_end: usize,
}

impl Direct {
    /// # Safety
    ///
    /// The two are a context's `data` and `data_end`, and no helper that moves packet data is
    /// called while the value is in use.
    #[inline(always)]
    pub(crate) unsafe fn new(data: usize, data_end: usize) -> Self {
        Self { data, data_end }
    }

    /// Bytes that can be read directly.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.data_end - self.data
    }
}

impl Frame for Direct {
    #[inline(always)]
    fn read<T: Raw>(&self, at: usize) -> Option<T> {
        let start = self.data + at;
        if start + size_of::<T>() > self.data_end {
            return None;
        }
        // SAFETY: inside the packet, checked above. The load may be unaligned in memory; it
        // compiles to BPF loads, which the verifier accepts only where the machine allows them.
        Some(unsafe { (start as *const T).read() })
    }

    #[inline(always)]
    fn forget_origin(&self, offset: usize) -> usize {
        // A packet's length is a number that the verifier knows nothing about, and so is whatever
        // was combined with it. In assembly, so that the compiler does not see through it; not with
        // `black_box`, which goes through memory and costs every packet a store and a load.
        let unknown = self.data_end - self.data;
        let mut combined = offset;
        // SAFETY: an exclusive or of two registers.
        unsafe {
            asm!(
                "{combined} ^= {unknown}",
                combined = inout(reg) combined,
                unknown = in(reg) unknown,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        combined ^ unknown
    }
}
