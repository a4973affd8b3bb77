//! Where the time of a transfer goes: the steps of data connections as `pinhole trace` sees them in the kernel.

use anyhow::{Context as _, Result, ensure};
use ftp_tests::trace::{Trace, at};
use serde_json::Value;

use super::{
    Bench, Rounds, Scenario,
    stand::{Network, Stand},
};
use crate::{
    client::ANONYMOUS,
    row::{Sample, compare, quantile},
    server::{PASSIVE_PORTS, Running, Server},
};

const FOLDER: &str = "timeline";
const SIZE: usize = 4 << 10;
/// Transfers that count, in a round; as many as a tenth of it go before and do not.
const TRANSFERS: usize = 300;
const TRANSFERS_QUICK: usize = 50;

/// What is measured: from one step to another.
const INTERVALS: [(&str, &str, &str); 5] = [
    ("negotiated to SYN", "negotiated", "syn"),
    ("SYN to established", "syn", "established"),
    ("established to accepted", "established", "accepted"),
    ("accepted to first byte", "accepted", "first_byte"),
    ("negotiated to first byte", "negotiated", "first_byte"),
];

/// The histogram's columns: from here to the next, in microseconds.
const COLUMNS: [(f64, &str); 6] = [
    (0.0, "below 16 µs"),
    (16.0, "16 to 64 µs"),
    (64.0, "64 to 256 µs"),
    (256.0, "256 to 1024 µs"),
    (1024.0, "1024 to 4096 µs"),
    (4096.0, "4096 µs and more"),
];

/// The histogram's metric.
const SHARE: &str = "share";

/// See [`Scenario::method`].
pub(crate) struct Timeline;

impl Scenario for Timeline {
    fn name(&self) -> &'static str {
        "timeline"
    }

    fn method(&self) -> &'static str {
        "Client and server in two network namespaces over veth, made and started anew for each subject and round;\n\
         behind each server that others wrote, pinhole guard --interface s0 (auto: tcx). One anonymous session\n\
         without TLS downloads a file of 4 KiB 300 times (50 with --quick), one after the other: PASV, connect, then\n\
         RETR. A tenth as many, not counted, go before. `pinhole trace --json` runs beside it, on the same cores; all\n\
         times are bpf_ktime_get_ns, taken in the kernel. negotiated: the row is in the table, for our server at the\n\
         end of its bpf(2), behind the guard inside the server's listen(2), so before the reply in either case; SYN:\n\
         the lock has let it in; established: the handshake is complete; accepted: accept(2) returns; first byte: the\n\
         server's first send returns. So negotiated to SYN holds the 227, the client, and the wire; and the client's\n\
         RETR lies between established and accepted, because servers accept only when they have it. Negotiated to\n\
         first byte is the whole and the figure to compare. Tracing makes every system call slower, for all subjects: these are\n\
         figures to compare with one another, not with other scenarios'. Median and p99 within a round; share: of\n\
         the transfers of a round, in percent, by how long the step took (the histogram).\n\
         libunftp is left out: it has nothing in front of it to trace."
    }

    fn rounds(&self, quick: bool) -> u32 {
        if quick { 2 } else { 11 }
    }

    fn prepare<'a>(&self, bench: &'a Bench) -> Result<Box<dyn Rounds + 'a>> {
        bench.files().many(FOLDER, 1, SIZE)?;
        Ok(Box::new(Traced { bench }))
    }
}

struct Traced<'a> {
    bench: &'a Bench,
}

impl Rounds for Traced<'_> {
    fn round(&mut self, number: u32) -> Result<Vec<Sample>> {
        let mut samples = Vec::new();
        let servers = self.bench.turn(number).into_iter();
        for server in servers.filter(|server| server.name() != "libunftp") {
            match self.measure(server) {
                Ok(measured) => samples.extend(measured),
                Err(reason) => self
                    .bench
                    .leave_out(&format!("timeline, {}", server.name()), &reason),
            }
        }
        let (shares, times) = samples
            .into_iter()
            .partition::<Vec<_>, _>(|sample| sample.metric == SHARE);
        // Of a histogram's columns there is no better or worse.
        Ok(compare(times).into_iter().chain(shares).collect())
    }
}

impl Traced<'_> {
    fn measure(&self, server: &dyn Server) -> Result<Vec<Sample>> {
        let stand = Stand::open(self.bench, server, Network::Veth, false)?;
        let ours = server.name() == self.bench.pinhole().name();
        let guard = match ours {
            true => None,
            false => Some(self.guard(&stand)?),
        };
        let subject = match ours {
            true => server.name().to_owned(),
            false => format!("guard, {}", server.name()),
        };
        let daemon = guard.as_ref().unwrap_or(&stand.running).pid();
        let program = self.bench.pinhole().program();
        let trace = Trace::start(program, stand.namespace(), daemon)?;
        let count = match self.bench.quick() {
            true => TRANSFERS_QUICK,
            false => TRANSFERS,
        };
        let all = count + count / 10;
        let mut sessions = stand.sessions(1, ANONYMOUS, None)?;
        stand.within(|| {
            for _ in 0..all {
                let (bytes, _) = sessions[0].fetch(&format!("RETR {FOLDER}/0\r\n"))?;
                ensure!(bytes == SIZE as u64, "{bytes} bytes came of 4 KiB");
            }
            Ok(())
        })?;
        trace.transfers(all)?;
        let (told, summary) = trace.finish()?;
        ensure!(
            told.len() == all && summary["lost"] == 0,
            "{} transfers were traced of {all}, {} lost",
            told.len(),
            summary["lost"]
        );
        drop((sessions, guard));
        samples_of(&subject, &told[all - count..])
    }

    fn guard(&self, stand: &Stand<'_>) -> Result<Running> {
        let (first, last) = PASSIVE_PORTS;
        let mut command = stand.namespace().command(self.bench.pinhole().program());
        command.args(["guard", "--interface", "s0", "--control-port"]);
        command.arg(stand.listen.port().to_string());
        command.args(["--ports", &format!("{first}-{last}")]);
        Running::start_saying(command, "ready", tempfile::tempdir()?)
    }
}

fn samples_of(subject: &str, told: &[Value]) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for (case, from, to) in INTERVALS {
        let mut micros = Vec::new();
        for transfer in told {
            let (began, ended) = (at(transfer, from)?, at(transfer, to)?);
            let time = ended
                .checked_sub(began)
                .with_context(|| format!("{to} came before {from}: {transfer}"))?;
            micros.push(time as f64 / 1e3);
        }
        micros.sort_by(f64::total_cmp);
        for (metric, fraction) in [("median", 0.5), ("p99", 0.99)] {
            let value = quantile(&micros, fraction).context("nothing was traced")?;
            samples.push(Sample::new(case, subject, metric, "µs", value));
        }
        for (column, share) in shares(&micros) {
            let case = format!("{case}, {column}");
            samples.push(Sample::new(&case, subject, SHARE, "%", share));
        }
    }
    Ok(samples)
}

/// The histogram: how many of a hundred lie in each column.
fn shares(micros: &[f64]) -> impl Iterator<Item = (&'static str, f64)> {
    let ends = COLUMNS.iter().skip(1).map(|(end, _)| *end);
    let ends = ends.chain([f64::INFINITY]);
    COLUMNS.iter().zip(ends).map(move |((begin, name), end)| {
        let inside = micros.iter().filter(|time| (*begin..end).contains(*time));
        (*name, 100.0 * inside.count() as f64 / micros.len() as f64)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_histogram_holds_every_transfer_once() {
        let shares: Vec<f64> = shares(&[0.0, 15.9, 16.0, 5000.0])
            .map(|(_, share)| share)
            .collect();
        assert_eq!(shares, [50.0, 25.0, 0.0, 0.0, 0.0, 25.0]);
    }

    #[test]
    fn intervals_are_taken_from_the_kernels_times() -> Result<()> {
        let steps = ["negotiated", "syn", "established", "accepted", "first_byte"];
        let told = |scale: u64| {
            let steps: Vec<Value> = steps
                .iter()
                .zip(1..)
                .map(|(step, number)| json!({"step": step, "ns": number * scale * 1_000}))
                .collect();
            json!({"steps": steps})
        };
        let samples = samples_of("pinhole", &[told(10), told(20), told(30)])?;
        let median = |case: &str| {
            let mut all = samples.iter();
            all.find(|sample| sample.case == case && sample.metric == "median")
                .map(|sample| sample.value)
        };
        assert_eq!(median("negotiated to SYN"), Some(20.0));
        assert_eq!(median("negotiated to first byte"), Some(80.0));
        let mut one = told(10);
        one["steps"].as_array_mut().context("steps")?.remove(3);
        assert!(samples_of("pinhole", &[one]).is_err());
        Ok(())
    }
}
