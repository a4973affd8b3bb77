//! Bounded access to a frame's bytes, whoever holds them. What they mean is not known here.

/// A type that may be read out of a frame: any bytes are a value of it.
///
/// # Safety
///
/// `repr(C)` or an integer, without padding, valid for every bit pattern.
pub unsafe trait Raw: Copy {}

// SAFETY: an integer.
unsafe impl Raw for u16 {}
// SAFETY: integers without padding.
unsafe impl Raw for [u8; 2] {}

/// Bounded access to a frame's bytes, from its first header on.
pub trait Frame {
    /// The value at byte `at`, as it lies in memory (network byte order), if all of it is there.
    fn read<T: Raw>(&self, at: usize) -> Option<T>;

    /// `offset` itself. In the kernel, the verifier is made to forget how the program got at it,
    /// so that it follows what comes after once, and not once for every chain of headers.
    #[inline(always)]
    fn forget_origin(&self, offset: usize) -> usize {
        offset
    }
}

impl Frame for &[u8] {
    fn read<T: Raw>(&self, at: usize) -> Option<T> {
        let bytes = self.get(at..at.checked_add(size_of::<T>())?)?;
        // SAFETY: `bytes` has T's size, and `Raw` makes any bytes a T.
        Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
    }
}
