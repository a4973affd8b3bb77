//! Bytes on their way between the socket and rustls.

/// A queue of bytes in one piece of memory, which is zeroed as it grows and never again.
#[derive(Default)]
pub(super) struct Buffer {
    memory: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// How many bytes are in it.
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is in it.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        self.memory
            .get_mut(self.start..self.end)
            .unwrap_or_default()
    }

    /// Room for `size` bytes behind those that are in it. [`Buffer::add`] says how many were written.
    pub(super) fn room(&mut self, size: usize) -> &mut [u8] {
        if self.memory.len() < self.end + size {
            self.memory.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.len());
        }
        let end = self.end + size;
        if self.memory.len() < end {
            self.memory.resize(end, 0);
        }
        self.memory.get_mut(self.end..end).unwrap_or_default()
    }

    /// The first `count` bytes of the room are in it from now on.
    pub(super) fn add(&mut self, count: usize) {
        self.end = (self.end + count).min(self.memory.len());
    }

    /// Takes the first `count` bytes out.
    pub(super) fn remove(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order() {
        let mut buffer = Buffer::default();
        let (mut next_in, mut next_out) = (0u8, 0u8);
        for n in 0..1000 {
            // In step with each other now and then, and ahead by more and more in between.
            let (add, remove) = (n % 7, n % 5 + n % 3);
            for room in buffer.room(add + 3).iter_mut().take(add) {
                *room = next_in;
                next_in = next_in.wrapping_add(1);
            }
            buffer.add(add);
            let there = buffer.len();
            for byte in buffer.bytes().iter().take(remove) {
                assert_eq!(*byte, next_out);
                next_out = next_out.wrapping_add(1);
            }
            buffer.remove(remove);
            assert_eq!(buffer.len(), there.saturating_sub(remove));
        }
        assert!(buffer.memory.len() < 1000, "{}", buffer.memory.len());
    }
}
