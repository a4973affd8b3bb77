//! What the kernel half tells: claims and denials, into the log. Denials are limited by a budget
//! that is granted anew every second, so a flood is a few lines; the counters stay exact.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use aya::{
    maps::{MapData, MapError, PerCpuArray, PerCpuValues, RingBuf},
    util::nr_cpus,
};
use aya_log::EbpfLogger;
use ftp_ebpf::{
    abi::{Event, EventKind, budget},
    guard::Tally,
    reason::Reason,
};
use log::Log;
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::mpsc,
    task::JoinSet,
};

use super::object::{Object, ObjectError};

/// Denials that one CPU may report in a second, of each kind.
const DENIALS_PER_SECOND: u32 = 16;

/// What the guard is told beside the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A control connection was established.
    Arrived {
        /// Whose.
        client: IpAddr,
        /// To which control port.
        port: u16,
    },
    /// A socket begins to listen for control connections.
    Listening(SocketAddr),
    /// A process without a control connection listens on this port, which is shut.
    Foreign(u16),
    /// This process serves several clients and has opened a data port for one of them, unknown
    /// which.
    Several(u32),
}

/// Grants every CPU its budgets of reported denials.
pub(super) fn grant(budgets: &mut PerCpuArray<MapData, u32>) -> Result<(), MapError> {
    let cpus = nr_cpus().map_err(|(path, io_error)| {
        MapError::IoError(io::Error::new(
            io_error.kind(),
            format!("{path}: {io_error}"),
        ))
    })?;
    for reporter in 0..budget::ENTRIES {
        let values = PerCpuValues::try_from(vec![DENIALS_PER_SECOND; cpus])?;
        budgets.set(reporter, values, 0)?;
    }
    Ok(())
}

/// Whether the log has a line for every claim, and for every pinhole that the kernel half opens.
pub(super) fn are_all_logged() -> bool {
    tracing::enabled!(tracing::Level::DEBUG)
}

/// Logs what the kernel half tells, for as long as the daemon lives; with `debug`, also the debug
/// messages that its programs were then loaded with. In a dry run denials are of packets that have
/// passed. `guard` is told what concerns it; where it does
/// not keep up, it is not told, and must look for itself now and then.
pub(super) fn start(
    object: &mut Object,
    tasks: &mut JoinSet<()>,
    debug: bool,
    dry_run: bool,
    guard: Option<mpsc::Sender<Heard>>,
) -> Result<(), ObjectError> {
    let events = object.events()?;
    tasks.spawn(async move {
        if let Err(error) = log(events, dry_run, guard).await {
            tracing::error!(%error, "events of the kernel half are no longer logged");
        }
    });
    if debug {
        match EbpfLogger::init(object.ebpf_mut()) {
            Ok(logger) => drop(tasks.spawn(debug_messages(logger))),
            Err(error) => tracing::warn!(%error, "no debug messages from the kernel half"),
        }
    }
    Ok(())
}

async fn log(
    events: RingBuf<MapData>,
    dry_run: bool,
    guard: Option<mpsc::Sender<Heard>>,
) -> io::Result<()> {
    // SAFETY: a RingBuf owns one open descriptor, its map's, for as long as it lives.
    let mut events = unsafe { AsyncFd::register_with_interest(events, Interest::READABLE) }?;
    loop {
        let mut ready = events.readable_mut().await?;
        while let Some(bytes) = ready.get_inner_mut().next() {
            let Some(event) = read(&bytes) else { continue };
            tell(&event, dry_run);
            if let (Some(guard), Some(heard)) = (&guard, heard(&event)) {
                let _ = guard.try_send(heard);
            }
        }
        ready.clear_ready();
    }
}

async fn debug_messages(logger: EbpfLogger<&'static dyn Log>) {
    // SAFETY: the logger owns one open descriptor, its ring buffer's, for as long as it lives.
    let logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) };
    let Ok(mut logger) = logger else {
        return;
    };
    while let Ok(mut ready) = logger.readable_mut().await {
        ready.get_inner_mut().flush();
        ready.clear_ready();
    }
}

fn read(bytes: &[u8]) -> Option<Event> {
    if bytes.len() != size_of::<Event>() {
        return None;
    }
    // SAFETY: as long as an Event (checked), whose every bit pattern is a value.
    Some(unsafe { bytes.as_ptr().cast::<Event>().read_unaligned() })
}

fn heard(event: &Event) -> Option<Heard> {
    match EventKind::from_u32(event.kind)? {
        EventKind::Arrived => {
            let port = u16::from_be(event.tuple.server_port_be);
            Some(match event.tuple.client_port_be {
                0 => Heard::Listening(SocketAddr::new(event.tuple.server.into(), port)),
                _ => Heard::Arrived {
                    client: event.tuple.client.into(),
                    port,
                },
            })
        }
        EventKind::Unresolved => {
            let (tally, _) = Tally::from_number(event.reason)?;
            match tally {
                Tally::NoControl => Some(Heard::Foreign(u16::from_be(event.tuple.server_port_be))),
                Tally::Several => Some(Heard::Several(process(event))),
                Tally::Opened | Tally::TableFull | Tally::Duplicate | Tally::Shared => None,
            }
        }
        EventKind::Opened | EventKind::Claimed | EventKind::Denied => None,
    }
}

/// The process that a guard's event is about.
fn process(event: &Event) -> u32 {
    (event.session >> 32) as u32
}

fn tell(event: &Event, dry_run: bool) {
    let tuple = event.tuple;
    let client = IpAddr::from(tuple.client);
    let (client_port, port) = (
        u16::from_be(tuple.client_port_be),
        u16::from_be(tuple.server_port_be),
    );
    let reason = Reason::from_u32(event.reason).map_or("unknown", Reason::name);
    let session = event.session;
    match EventKind::from_u32(event.kind) {
        Some(EventKind::Opened) => tracing::debug!(session, %client, port, "pinhole opened"),
        Some(EventKind::Claimed) => {
            tracing::debug!(session, %client, client_port, port, "pinhole claimed");
        }
        Some(EventKind::Denied) if dry_run => {
            tracing::debug!(%client, client_port, port, reason, "would be denied");
        }
        Some(EventKind::Denied) => tracing::debug!(%client, client_port, port, reason, "denied"),
        Some(EventKind::Arrived) if client_port == 0 => {
            tracing::debug!(port, "listened on for control connections");
        }
        Some(EventKind::Arrived) => tracing::debug!(%client, port, "control connection"),
        Some(EventKind::Unresolved) => {
            let became = became(event.reason, dry_run);
            tracing::warn!(pid = process(event), "data port {port} {became}");
        }
        None => tracing::debug!(kind = event.kind, "an event of an unknown kind"),
    }
}

/// What became of a data port, or would have, by the number of its [`Tally`].
fn became(tally: u32, dry_run: bool) -> String {
    let (shut, open) = match dry_run {
        false => ("stays shut", "is open"),
        true => ("would stay shut", "would be open"),
    };
    match Tally::from_number(tally) {
        Some((Tally::Shared, _)) => format!("{open} to every client with a control connection"),
        Some((Tally::NoControl, _)) => format!("{shut}: the process has no control connection"),
        Some((Tally::Several, _)) => format!("{shut}: the process serves several clients"),
        Some((Tally::TableFull, _)) => format!("{shut}: the table is full (max_pinholes)"),
        Some((Tally::Duplicate, _)) => "is another listener's already".to_owned(),
        Some((Tally::Opened, _)) | None => "is not understood".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_shuts_nothing() {
        for (tally, name) in Tally::ALL {
            assert!(!became(tally as u32, true).contains("stays"), "{name}");
        }
        let shut = became(Tally::NoControl as u32, false);
        assert!(shut.starts_with("stays shut: "), "{shut}");
        let would = became(Tally::NoControl as u32, true);
        assert!(would.starts_with("would stay shut: "), "{would}");
    }
}
