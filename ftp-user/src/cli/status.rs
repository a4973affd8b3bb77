//! `pinhole status`: the pinholes and counters of running daemons, read from the kernel.

mod json;
mod text;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use serde_json::Value;

use crate::pinholes::inspect::{Controls, InspectError, Listener, Row, Tables, processes};

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The daemon with this process number [default: every one there is]
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,

    /// For programs: [{"pid", "pinned", "pinholes": [{"client", "server", "port", "session",
    /// "claimed_by", "remaining_seconds"}], "verdicts": {reason: packets}, "guard":
    /// {"namespace", "dry_run", "control_connections", "older_control_connections", "missed",
    /// "listeners": [{"port", "outcome", "client", "waits"}], "data_ports": {outcome: number}}}];
    /// "namespace" is the number of a network namespace, "pid" is null for what a guard has left at
    /// work, "guard" where there is none, "remaining_seconds" where it is until the listener closes
    #[arg(long)]
    json: bool,

    /// Where guards with on_exit = "closed" leave what goes on
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf")]
    bpffs: PathBuf,
}

const EXAMPLES: &str = "\
Reads the daemon's tables in the kernel, which takes root. docs/ARCHITECTURE.md says what the
reasons mean, docs/GUARD.md what became of a guard's data ports; those of which there was none are
left out. Each packet is counted once; steered and not-steered count lookups of sockets instead,
of which a packet can take two.

Examples:
  pinhole status
  pinhole status --json | jq '.[].verdicts.closed'";

/// Longer than any deadline.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// What is known of one kernel half.
struct Daemon {
    /// None where it goes on without a process.
    pid: Option<u32>,
    /// Where it is pinned.
    pinned: Option<PathBuf>,
    pinholes: Vec<Row>,
    verdicts: Vec<(&'static str, u64)>,
    guard: Option<Guarded>,
}

/// What a guard has beside.
struct Guarded {
    /// Inode number of the network namespace.
    namespace: u32,
    dry_run: bool,
    controls: Controls,
    missed: u32,
    listeners: Vec<Listener>,
    data_ports: Vec<(&'static str, u64)>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let (mut pinned, mut unread) = (Vec::new(), 0);
    for (folder, tables) in Tables::pinned(&args.bpffs) {
        match tables {
            Ok(tables) => pinned.push((folder, tables)),
            Err(error) => {
                unread += 1;
                left_out(&format!("what is pinned in {}", folder.display()), &error);
            }
        }
    }
    let mut daemons = match args.pid {
        Some(pid) => {
            let found = Daemon::of_process(pid, &mut pinned)?;
            if found.is_empty() {
                bail!("process {pid} is no Pinhole daemon that enforces");
            }
            found
        }
        None => daemons(&mut pinned, &mut unread)?,
    };
    if args.pid.is_none() {
        for (folder, tables) in pinned {
            daemons.push(Daemon::read(None, Some(folder), &tables)?);
        }
    }
    if daemons.is_empty() && unread > 0 {
        bail!("nothing can be shown: whatever may enforce here is left out, see above");
    }
    if daemons.is_empty() {
        bail!(
            "no pinhole daemon enforces here, and nothing is left at work in {} (another place: \
             --bpffs); `pinhole serve` or `pinhole guard` starts one",
            args.bpffs.display()
        );
    }
    let text = if args.json {
        let value: Vec<Value> = daemons.iter().map(Daemon::json).collect();
        format!("{:#}\n", Value::from(value))
    } else {
        daemons.iter().map(Daemon::text).collect()
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

/// Every process of this program's name that has the tables; counts those that cannot be read.
fn daemons(pinned: &mut Pinned, unread: &mut usize) -> anyhow::Result<Vec<Daemon>> {
    let mut daemons = Vec::new();
    for pid in processes()? {
        match Daemon::of_process(pid, pinned) {
            // None: not a daemon, or without enforcement.
            Ok(found) => daemons.extend(found),
            // Gone meanwhile.
            Err(InspectError::Process { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound => {}
            // Of another version, while an update is under way; somebody else's.
            Err(error) => {
                *unread += 1;
                left_out(&format!("process {pid}"), &error);
            }
        }
    }
    Ok(daemons)
}

/// Says what cannot be shown, beside what can.
fn left_out(what: &str, error: &InspectError) {
    // Nobody is left to hear that stderr is closed.
    let _ = writeln!(std::io::stderr(), "pinhole: left out: {what}: {error}");
}

/// What is pinned, with its folder.
type Pinned = Vec<(PathBuf, Tables)>;

impl Daemon {
    /// Every kernel half of a process, taken out of those that are pinned.
    fn of_process(pid: u32, pinned: &mut Pinned) -> Result<Vec<Daemon>, InspectError> {
        let mut daemons = Vec::new();
        for tables in Tables::all_of_process(pid)? {
            let id = tables.id()?;
            let mut folder = None;
            for (index, (_, other)) in pinned.iter().enumerate() {
                if other.id()? == id {
                    folder = Some(index);
                }
            }
            let folder = folder.map(|index| pinned.swap_remove(index).0);
            daemons.push(Daemon::read(Some(pid), folder, &tables)?);
        }
        Ok(daemons)
    }

    fn read(
        pid: Option<u32>,
        pinned: Option<PathBuf>,
        tables: &Tables,
    ) -> Result<Daemon, InspectError> {
        let mut pinholes = tables.pinholes()?;
        pinholes.sort_by_key(|row| (row.port, row.client));
        let mut verdicts: Vec<_> = tables.counters()?.into_iter().collect();
        verdicts.retain(|(_, packets)| *packets > 0);
        verdicts.sort_by_key(|(_, packets)| std::cmp::Reverse(*packets));
        Ok(Daemon {
            pid,
            pinned,
            pinholes,
            verdicts,
            guard: Guarded::read(tables)?,
        })
    }
}

impl Guarded {
    fn read(tables: &Tables) -> Result<Option<Guarded>, InspectError> {
        let (
            Some(namespace),
            Some(dry_run),
            Some(controls),
            Some(missed),
            Some(listeners),
            Some(tallies),
        ) = (
            tables.namespace()?,
            tables.is_dry_run()?,
            tables.controls()?,
            tables.missed()?,
            tables.listeners()?,
            tables.tallies()?,
        )
        else {
            return Ok(None);
        };
        let mut data_ports: Vec<_> = tallies.into_iter().collect();
        data_ports.retain(|(_, number)| *number > 0);
        Ok(Some(Guarded {
            namespace,
            dry_run,
            controls,
            missed,
            listeners,
            data_ports,
        }))
    }
}
