//! `pinhole status`: the pinholes and counters of running daemons, read from the kernel.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::pinholes::inspect::{InspectError, Row, Tables};

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The daemon with this process number [default: every one there is]
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,

    /// For programs: [{"pid", "pinholes": [{"client", "server", "port", "session", "claimed_by",
    /// "remaining_seconds"}], "verdicts": {reason: packets}}]
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Reads the daemon's tables in the kernel, which takes root. docs/ARCHITECTURE.md says what the
reasons mean; those that no packet had are left out.

Examples:
  pinhole status
  pinhole status --json | jq '.[].verdicts.closed'";

/// As `/proc/PID/comm` has it.
const PROGRAM: &str = "pinhole";

/// Longer than any deadline.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// What is known of one daemon.
struct Daemon {
    pid: u32,
    pinholes: Vec<Row>,
    verdicts: Vec<(&'static str, u64)>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let daemons = match args.pid {
        Some(pid) => vec![Daemon::read(pid)?],
        None => daemons()?,
    };
    if daemons.is_empty() {
        bail!("no pinhole daemon enforces here; `pinhole serve` starts one");
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

/// Every process of this program's name that has the tables.
fn daemons() -> anyhow::Result<Vec<Daemon>> {
    let mut daemons = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc")? {
        let entry = entry?;
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if name.trim() != PROGRAM {
            continue;
        }
        match Daemon::read(pid) {
            Ok(daemon) => daemons.push(daemon),
            // Not a daemon, without enforcement, or gone meanwhile.
            Err(InspectError::NoMap { .. }) => {}
            Err(InspectError::Process { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(daemons)
}

impl Daemon {
    fn read(pid: u32) -> Result<Daemon, InspectError> {
        let tables = Tables::of_process(pid)?;
        let mut pinholes = tables.pinholes()?;
        pinholes.sort_by_key(|row| (row.port, row.client));
        let mut verdicts: Vec<_> = tables.counters()?.into_iter().collect();
        verdicts.retain(|(_, packets)| *packets > 0);
        verdicts.sort_by_key(|(_, packets)| std::cmp::Reverse(*packets));
        Ok(Daemon {
            pid,
            pinholes,
            verdicts,
        })
    }

    fn text(&self) -> String {
        let mut out = format!("pinhole, process {}\n\n", self.pid);
        // Writing to memory does not fail.
        let _ = match self.pinholes.len() {
            0 => writeln!(out, "no pinhole waits"),
            1 => writeln!(out, "1 pinhole waits:"),
            count => writeln!(out, "{count} pinholes wait:"),
        };
        for row in &self.pinholes {
            let state = match row.claimed_by {
                Some(port) => format!("taken by source port {port}"),
                // The guard's have no deadline.
                None if row.remaining > CENTURY => "until its listener closes".to_owned(),
                None => format!("for {} s", row.remaining.as_secs()),
            };
            let _ = writeln!(
                out,
                "  {} may come to {} port {}, session {}, {state}",
                row.client, row.server, row.port, row.session
            );
        }
        out.push_str("\npackets by verdict:\n");
        for (reason, packets) in &self.verdicts {
            let _ = writeln!(out, "  {reason:20} {packets:>14}");
        }
        out.push('\n');
        out
    }

    fn json(&self) -> Value {
        let pinholes: Vec<Value> = self
            .pinholes
            .iter()
            .map(|row| {
                json!({
                    "client": row.client,
                    "server": row.server,
                    "port": row.port,
                    "session": row.session,
                    "claimed_by": row.claimed_by,
                    "remaining_seconds": row.remaining.as_secs_f64(),
                })
            })
            .collect();
        let verdicts: serde_json::Map<String, Value> = self
            .verdicts
            .iter()
            .map(|(reason, packets)| ((*reason).to_owned(), (*packets).into()))
            .collect();
        json!({"pid": self.pid, "pinholes": pinholes, "verdicts": verdicts})
    }
}
