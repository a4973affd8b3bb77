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
        let mut tap = Self {
            memory,
            page,
            size: size.into(),
            position: 0,
            missed: 0,
        };
        tap.position = tap.produced();
        Ok(tap)
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
