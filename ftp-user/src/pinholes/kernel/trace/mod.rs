//! `pinhole trace`: follows the data connections of a running daemon in the kernel, by programs of
//! its own, which are there for as long as it runs. The daemon knows nothing of it.

mod daemon;
mod error;
mod tap;
mod timeline;

use std::os::fd::OwnedFd;

use aya::{
    Pod,
    maps::{Array, MapData, RingBuf},
};
use ftp_ebpf::abi::{Opening, Transfer, map, program};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::{
    daemon::{descriptor, namespaces, open, open_process, words},
    tap::Tap,
    timeline::Seen,
};
pub use self::{
    error::TraceError,
    timeline::{End, Moment, Timeline},
};
use super::{
    layout,
    object::{GuardSettings, Object, ObjectError, TraceSettings, TracedServer},
};
use crate::pinholes::inspect::{Maps, Programs};

/// Follows one daemon. Dropping it detaches everything.
pub struct Tracer {
    /// Tells when the daemon ends.
    daemon: OwnedFd,
    watches: Vec<Watch>,
    taps: Vec<Tap>,
    seen: Seen,
    guard: bool,
}

/// The programs of one network namespace.
struct Watch {
    steps: RingBuf<MapData>,
    lost: Array<MapData, u64>,
    _object: Object,
}

impl Tracer {
    /// Begins to follow what that daemon's sessions negotiate from now on.
    ///
    /// # Errors
    ///
    /// It is no daemon, or the kernel does not let us.
    pub fn attach(pid: u32) -> Result<Self, TraceError> {
        let daemon = open_process(pid)?;
        let held = Programs::of(pid)?;
        let mut taps = Vec::new();
        for lock in held.named(program::XDP_ADMIT) {
            let events = open(pid, &Maps::of(lock)?, map::EVENTS)?;
            taps.push(Tap::open(&events).map_err(|source| TraceError::Events { pid, source })?);
        }
        let guard = held.named(program::GUARD_STATE).next();
        let server = match (guard, held.named(program::STEER).next()) {
            (Some(_), _) => None,
            (None, Some(steer)) => {
                let id = Maps::of(steer)?.id(map::PINHOLES);
                Some(TracedServer {
                    pid,
                    table: descriptor(pid, id.ok_or(TraceError::NoDaemon(pid))?)?,
                })
            }
            (None, None) => return Err(TraceError::NoDaemon(pid)),
        };
        let control = match guard {
            Some(guard) => Some(open(pid, &Maps::of(guard)?, map::CONTROL_PORTS)?),
            None => None,
        };
        let control = control.map(words).transpose()?;
        let layout = layout::of_running_kernel()?;
        let mut watches = Vec::new();
        for namespace in namespaces(pid, guard.is_some())? {
            let kernel = GuardSettings { layout, namespace };
            watches.push(Watch::start(
                &TraceSettings { kernel, server },
                control.as_deref(),
            )?);
        }
        Ok(Self {
            daemon,
            watches,
            taps,
            seen: Seen::default(),
            guard: guard.is_some(),
        })
    }

    /// Whether the daemon is a guard, for servers that others wrote.
    pub fn is_guard(&self) -> bool {
        self.guard
    }

    /// Whether the daemon has ended, after which nothing is negotiated any more.
    pub fn has_daemon_ended(&self) -> bool {
        let mut ended = [PollFd::new(&self.daemon, PollFlags::IN)];
        // An error is none of the daemon's.
        poll(&mut ended, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// The data connections that have ended since it was last called, which has to be now and then:
    /// the kernel keeps some thousands.
    pub fn ended(&mut self) -> Vec<Timeline> {
        let mut transfers = Vec::new();
        for watch in &mut self.watches {
            while let Some(bytes) = watch.steps.next() {
                if let Some(opening) = read::<Opening>(&bytes) {
                    self.seen.opened(opening);
                } else if let Some(transfer) = read::<Transfer>(&bytes) {
                    transfers.push(transfer);
                }
            }
        }
        // After them: how a connection began was told before its end.
        for tap in &mut self.taps {
            while let Some(event) = tap.next() {
                self.seen.heard(&event);
            }
        }
        let ended = transfers.iter();
        ended
            .filter_map(|transfer| self.seen.ended(transfer))
            .collect()
    }

    /// How much could not be followed: there were too many at once.
    pub fn lost(&self) -> u64 {
        let lost = self.watches.iter().map(|watch| watch.lost.get(&0, 0));
        let missed: u64 = self.taps.iter().map(Tap::missed).sum();
        lost.flatten().sum::<u64>() + missed
    }
}

impl Watch {
    fn start(settings: &TraceSettings, control: Option<&[u64]>) -> Result<Self, TraceError> {
        let mut object = Object::load_trace(settings)?;
        if let Some(words) = control {
            let mut ports = object.control_ports()?;
            for (index, word) in words.iter().enumerate().filter(|(_, word)| **word != 0) {
                let set = ports.set(index as u32, word, 0);
                set.map_err(ObjectError::of_map(map::CONTROL_PORTS))?;
            }
        }
        let own = program::TRACE_SERVER.iter();
        let own = own.filter(|_| settings.server.is_some());
        for (name, category, event) in program::TRACE.iter().chain(own) {
            let attached = object.tracepoint(name)?.attach(category, event);
            attached.map_err(|source| TraceError::Tracepoint {
                event: format!("{category}:{event}"),
                source: Box::new(source),
            })?;
        }
        Ok(Self {
            steps: object.steps()?,
            lost: object.lost()?,
            _object: object,
        })
    }
}

/// A record, if it is as long as that.
fn read<T: Pod>(bytes: &[u8]) -> Option<T> {
    if bytes.len() != size_of::<T>() {
        return None;
    }
    // SAFETY: as long as a T (checked), whose every bit pattern is a value.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}
