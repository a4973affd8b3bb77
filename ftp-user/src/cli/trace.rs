//! `pinhole trace`: the data connections of a running daemon, one line each, with the time from
//! step to step as the kernel saw them.

mod histograms;

use std::fmt::Write as _;
use std::io::Write as _;
use std::pin::pin;
use std::time::Duration;

use anyhow::bail;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, sleep};

use self::histograms::Histograms;
use super::signals::Stop;
use crate::pinholes::inspect::{InspectError, Tables, processes};
use crate::pinholes::kernel::{End, Moment, Timeline, Tracer};

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The daemon with this process number [default: the one there is]
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,

    /// For programs, a line each: {"session", "process", "mode", "client", "server",
    /// "first_byte_by", "steps": [{"step", "ns", "us"}]}; "ns" is of CLOCK_MONOTONIC, "us" since the
    /// step before, null of the first. What has not been seen is missing or null
    #[arg(long)]
    json: bool,

    /// At the end, also how the times from step to step are spread; with --json a last line
    /// {"lost", "intervals": [{"from", "to", "count", "p50_us", "p90_us", "p99_us", "max_us",
    /// "histogram": [{"below_us", "count"}]}]}
    #[arg(long)]
    summary: bool,

    /// End after so many seconds [default: at Ctrl-C]
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u64>,
}

const EXAMPLES: &str = "\
Follows a `pinhole serve` or `pinhole guard` on this host from outside, which takes root and Linux
6.3. Nothing is left when it ends. A line comes when a data connection has closed: who negotiated it,
the two ends, and the microseconds from each step to the next.

Examples:
  pinhole trace
  pinhole trace --summary --for 60
  pinhole trace --json | jq -r '.steps[] | select(.step == \"first_byte\") | .us'";

/// How often is looked for what has ended.
const LOOK: Duration = Duration::from_millis(100);

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let pid = match args.pid {
        Some(pid) => pid,
        None => only_daemon()?,
    };
    let tracer = Tracer::attach(pid)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(follow(args, tracer, pid))
}

/// The one daemon that enforces.
fn only_daemon() -> anyhow::Result<u32> {
    let (mut found, mut unread) = (Vec::new(), None);
    for pid in processes()? {
        match Tables::all_of_process(pid) {
            Ok(tables) if tables.is_empty() => {}
            Ok(_) => found.push(pid),
            // Gone meanwhile.
            Err(InspectError::Process { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => unread = Some(error),
        }
    }
    match (&found[..], unread) {
        ([only], _) => Ok(*only),
        ([], Some(error)) => Err(error.into()),
        ([], None) => bail!(
            "no pinhole daemon enforces here; `pinhole serve` starts one. A guard that goes on \
             without its process cannot be traced"
        ),
        _ => bail!(
            "several pinhole daemons run here: name one with --pid, of {}",
            found
                .iter()
                .map(u32::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        ),
    }
}

async fn follow(args: &Args, mut tracer: Tracer, pid: u32) -> anyhow::Result<()> {
    let stop = Stop::new()?;
    let mut stopped = pin!(stop.told());
    let mut over = pin!(async {
        match args.seconds {
            Some(seconds) => sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    });
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tracing::info!(pid, "ready");
    let mut histograms = Histograms::default();
    loop {
        // Before the last look at what has ended.
        let gone = tracer.has_daemon_ended();
        let last = tokio::select! {
            () = &mut stopped => true,
            () = &mut over => true,
            _ = look.tick() => gone,
        };
        let mut lines = String::new();
        for line in tracer.ended() {
            histograms.add(&line)?;
            // Writing to memory does not fail.
            let _ = match args.json {
                true => writeln!(lines, "{}", json(&line)),
                false => writeln!(lines, "{}", text(&line, tracer.is_guard())),
            };
        }
        let lost = tracer.lost();
        if last && args.summary {
            let _ = match args.json {
                true => writeln!(lines, "{}", histograms.json(lost)),
                false => write!(lines, "{}", histograms.text()),
            };
        }
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(lines.as_bytes())?;
        stdout.flush()?;
        if last {
            if lost > 0 {
                tracing::warn!(lost, "too much happened at once: not everything is shown");
            }
            if gone {
                bail!("process {pid} has ended, and with it what could be followed");
            }
            return Ok(());
        }
    }
}

/// What a step is called.
fn words(moment: Moment) -> &'static str {
    match moment {
        Moment::Negotiated => "negotiated",
        Moment::Syn => "SYN",
        Moment::Established => "established",
        Moment::Accepted => "accepted",
        Moment::FirstByte => "first byte",
        Moment::LastByte => "last byte",
        Moment::Closed => "closed",
    }
}

fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e3
}

fn text(line: &Timeline, guard: bool) -> String {
    let who = match (line.session, line.process) {
        // A guard's sessions are processes.
        (Some(session), None) if guard => format!("process {}", session >> 32),
        (_, Some(process)) if guard => format!("process {process}"),
        (Some(session), _) => format!("session {session}"),
        (None, Some(process)) => format!("process {process}"),
        (None, None) => "unknown".to_owned(),
    };
    let (client, server) = (line.client, line.server);
    let mut out = match line.active {
        false => format!("{who} passive {client} > {server}:"),
        true => format!("{who} active {server} > {client}:"),
    };
    let first = Moment::ALL
        .into_iter()
        .find(|step| line.at(*step).is_some());
    if let Some(first) = first {
        out += " ";
        out += words(first);
    }
    for (_, to, nanoseconds) in line.intervals() {
        // Writing to memory does not fail.
        let _ = write!(out, " +{:.1} {}", microseconds(nanoseconds), words(to));
        if to == Moment::FirstByte {
            out += match line.first_byte_by {
                Some(End::Server) => " sent",
                Some(End::Client) => " received",
                None => "",
            };
        }
    }
    out + " (µs)"
}

fn json(line: &Timeline) -> Value {
    let mut before = None;
    let mut steps = Vec::new();
    for moment in Moment::ALL {
        let Some(now) = line.at(moment) else {
            continue;
        };
        let since = before.map(|before| microseconds(now.saturating_sub(before)));
        steps.push(json!({"step": moment.name(), "ns": now, "us": since}));
        before = Some(now);
    }
    json!({
        "session": line.session,
        "process": line.process,
        "mode": if line.active { "active" } else { "passive" },
        "client": line.client,
        "server": line.server,
        "first_byte_by": line.first_byte_by.map(|end| match end {
            End::Server => "server",
            End::Client => "client",
        }),
        "steps": steps,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(active: bool) -> Timeline {
        let at = match active {
            false => [100, 1_100, 2_600, 2_700, 4_700, 5_000, 6_000].map(Some),
            true => [
                None,
                Some(1_000),
                Some(2_000),
                None,
                None,
                None,
                Some(9_000),
            ],
        };
        Timeline {
            session: (!active).then_some(7 << 32 | 5),
            process: Some(9),
            client: ([192, 0, 2, 7], 40_000).into(),
            server: ([192, 0, 2, 1], 30_000).into(),
            active,
            first_byte_by: (!active).then_some(End::Server),
            at,
        }
    }

    #[test]
    fn people_see_every_step() {
        assert_eq!(
            text(&line(false), true),
            "process 9 passive 192.0.2.7:40000 > 192.0.2.1:30000: negotiated +1.0 SYN \
             +1.5 established +0.1 accepted +2.0 first byte sent +0.3 last byte +1.0 closed (µs)"
        );
        let session = text(&line(false), false);
        assert!(session.starts_with("session 30064771077 "), "{session}");
        assert_eq!(
            text(&line(true), false),
            "process 9 active 192.0.2.1:30000 > 192.0.2.7:40000: SYN +1.0 established \
             +7.0 closed (µs)"
        );
    }

    #[test]
    fn programs_see_what_was_seen() {
        let value = json(&line(true));
        assert_eq!(value["mode"], "active");
        assert_eq!(value["session"], Value::Null);
        let first = json!({"step": "syn", "ns": 1_000, "us": null});
        let last = json!({"step": "closed", "ns": 9_000, "us": 7.0});
        assert_eq!(value["steps"][0], first);
        assert_eq!(value["steps"][2], last);
    }
}
