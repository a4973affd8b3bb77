//! Reading along in a ring buffer that somebody else consumes: the daemon's events, without taking
//! any from it and without its doing anything for us. What is overwritten before it was read is
//! missed, and counted.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
    sync::atomic::{AtomicU32, AtomicU64, Ordering, fence},
};

use aya::maps::MapData;
use ftp_ebpf::abi::Event;
use memmap2::{MmapOptions, MmapRaw};

/// Bits of a record's first word (include/uapi/linux/bpf.h).
const BUSY: u32 = 1 << 31;
const DISCARDED: u32 = 1 << 30;
/// A record's header, before its bytes (kernel/bpf/ringbuf.c, `struct bpf_ringbuf_hdr`).
const HEADER: u64 = 8;

/// A place in the daemon's events.
pub(super) struct Tap {
    /// The producer's page, then the data, twice, so that no record is torn at the end.
    memory: MmapRaw,
    page: usize,
    size: u64,
    /// Everything before has been read.
    position: u64,
    missed: u64,
}

impl Tap {
    /// From now on.
    pub(super) fn open(events: &MapData) -> io::Result<Self> {
        let info = events.info().map_err(io::Error::other)?;
        let size = info.max_entries();
        let page = rustix::param::page_size();
        let memory = MmapOptions::new()
            // The first page is the consumer's.
            .offset(page as u64)
            .len(page + 2 * size as usize)
            .map_raw_read_only(events.fd().as_fd().as_raw_fd())?;
        Ok(Self::over(memory, page, size.into()))
    }

    fn over(memory: MmapRaw, page: usize, size: u64) -> Self {
        let mut tap = Self {
            memory,
            page,
            size,
            position: 0,
            missed: 0,
        };
        tap.position = tap.produced();
        tap
    }

    /// How often something was overwritten before it was read.
    pub(super) fn missed(&self) -> u64 {
        self.missed
    }

    /// The next event.
    pub(super) fn next(&mut self) -> Option<Event> {
        loop {
            let produced = self.produced();
            if self.is_behind(produced) {
                continue;
            }
            if self.position >= produced {
                return None;
            }
            let place = self.position % self.size;
            let header = self.word(place);
            let bytes = u64::from(header & !(BUSY | DISCARDED));
            let event = (bytes == size_of::<Event>() as u64).then(|| self.event(place + HEADER));
            fence(Ordering::Acquire);
            if self.is_behind(self.produced()) {
                continue;
            }
            if header & BUSY != 0 {
                return None;
            }
            self.position += (bytes + HEADER).next_multiple_of(8);
            if header & DISCARDED == 0
                && let Some(event) = event
            {
                return Some(event);
            }
        }
    }

    /// Whether what is at our place has been overwritten; goes on with what is new then.
    fn is_behind(&mut self, produced: u64) -> bool {
        let behind = produced.saturating_sub(self.position) > self.size;
        if behind {
            self.missed += 1;
            self.position = produced;
        }
        behind
    }

    fn produced(&self) -> u64 {
        // SAFETY: the first word of the mapping, which is aligned to a page and lives as long as
        // `self`; the kernel changes it atomically, nobody here writes.
        unsafe { AtomicU64::from_ptr(self.memory.as_mut_ptr().cast()) }.load(Ordering::Acquire)
    }

    fn word(&self, place: u64) -> u32 {
        let place = self.page + place as usize;
        assert!(place + size_of::<u32>() <= self.memory.len() && place.is_multiple_of(4));
        // SAFETY: inside the mapping (checked above) and aligned; as for `produced`.
        unsafe { AtomicU32::from_ptr(self.memory.as_mut_ptr().add(place).cast()) }
            .load(Ordering::Acquire)
    }

    /// What lies there, which may be changing: the caller looks whether it was.
    fn event(&self, place: u64) -> Event {
        let place = self.page + place as usize;
        assert!(place + size_of::<Event>() <= self.memory.len());
        // SAFETY: inside the mapping (checked above); every bit pattern is an Event.
        unsafe {
            self.memory
                .as_ptr()
                .add(place)
                .cast::<Event>()
                .read_volatile()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::FileExt as _};

    use super::*;

    const PAGE: usize = 4096;
    const SIZE: u64 = 4096;
    const RECORD: u64 = HEADER + size_of::<Event>() as u64;

    /// What the kernel would write.
    struct Ring {
        file: File,
        produced: u64,
    }

    impl Ring {
        fn new() -> (Self, Tap) {
            let file = tempfile::tempfile().unwrap();
            let len = PAGE + 2 * SIZE as usize;
            file.set_len(len as u64).unwrap();
            let memory = MmapOptions::new().len(len).map_raw(&file).unwrap();
            let ring = Self { file, produced: 0 };
            (ring, Tap::over(memory, PAGE, SIZE))
        }

        /// An event whose session is `session`, in its place, in both pictures of it.
        fn write(&mut self, session: u64, flags: u32) {
            let header = size_of::<Event>() as u32 | flags;
            let mut record = vec![0; RECORD as usize];
            record[..4].copy_from_slice(&header.to_ne_bytes());
            let at = HEADER as usize + std::mem::offset_of!(Event, session);
            record[at..at + 8].copy_from_slice(&session.to_ne_bytes());
            for (offset, byte) in (self.produced..).zip(&record) {
                for picture in [0, SIZE] {
                    let place = PAGE as u64 + picture + offset % SIZE;
                    self.file.write_all_at(&[*byte], place).unwrap();
                }
            }
            self.produced += RECORD;
            self.file
                .write_all_at(&self.produced.to_ne_bytes(), 0)
                .unwrap();
        }
    }

    fn sessions(tap: &mut Tap) -> Vec<u64> {
        std::iter::from_fn(|| tap.next().map(|event| event.session)).collect()
    }

    #[test]
    fn events_are_read_as_they_come_and_around_the_end() {
        let (mut ring, mut tap) = Ring::new();
        assert!(sessions(&mut tap).is_empty());
        let mut all = Vec::new();
        for session in 0..SIZE / RECORD * 3 {
            ring.write(session, 0);
            all.extend(sessions(&mut tap));
        }
        assert!(all.iter().copied().eq(0..SIZE / RECORD * 3));
        assert_eq!(tap.missed(), 0);
    }

    #[test]
    fn what_is_not_complete_is_waited_for_and_what_was_given_up_is_skipped() {
        let (mut ring, mut tap) = Ring::new();
        ring.write(1, DISCARDED);
        ring.write(2, BUSY);
        ring.write(3, 0);
        assert!(sessions(&mut tap).is_empty());
        ring.produced = RECORD;
        ring.write(2, 0);
        ring.write(3, 0);
        assert_eq!(sessions(&mut tap), [2, 3]);
    }

    #[test]
    fn what_was_overwritten_is_counted_and_no_nonsense_is_read() {
        let (mut ring, mut tap) = Ring::new();
        for session in 0..SIZE / RECORD + 2 {
            ring.write(session, 0);
        }
        assert!(sessions(&mut tap).is_empty());
        assert_eq!(tap.missed(), 1);
        ring.write(99, 0);
        assert_eq!(sessions(&mut tap), [99]);
    }
}
