//! The PASV and EPSV round trips beside NOOP's: what negotiating a data port costs the client in waiting.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{
    Bench, Rounds, Scenario,
    stand::{Network, Stand},
};
use crate::{
    client::{ANONYMOUS, Client},
    row::{Sample, compare, quantile},
    server::Server,
};

/// Commands of each kind that a server answers before it is the next one's turn.
const PER_TURN: u32 = 100;

/// See [`Scenario::method`].
pub(crate) struct Pasv;

impl Scenario for Pasv {
    fn name(&self) -> &'static str {
        "pasv"
    }

    fn method(&self) -> &'static str {
        "Client and server in two network namespaces over veth, made and started anew for each round. The\n\
         servers of a round take turns: one logged-in anonymous control connection each sends 100 times NOOP\n\
         (once uncounted, once counted), PASV and EPSV and waits for each reply. CLOCK_MONOTONIC around write and\n\
         read in the client; the first turn is not counted. Each PASV or EPSV replaces the one before; no data\n\
         connection is made. PASV is what a client waits for a port that has been quiet. Pinhole closes the port\n\
         before after its reply: whoever says the next thing at once waits for that, and EPSV here does. A 425\n\
         (libunftp now and then finds no port) is not counted. Median and p99 within a round; median, p10 and p90\n\
         of these over the rounds. `own NOOP` is the same server's NOOP in the same round: what remains is\n\
         negotiation."
    }

    fn rounds(&self, quick: bool) -> u32 {
        if quick { 3 } else { 15 }
    }

    fn prepare<'a>(&self, bench: &'a Bench) -> Result<Box<dyn Rounds + 'a>> {
        Ok(Box::new(Pairs { bench }))
    }
}

struct Pairs<'a> {
    bench: &'a Bench,
}

impl Rounds for Pairs<'_> {
    fn round(&mut self, number: u32) -> Result<Vec<Sample>> {
        let turns = if self.bench.quick() { 10 } else { 40 };
        let mut stands = Vec::new();
        for server in self.bench.turn(number) {
            match Connected::open(self.bench, server) {
                Ok(stand) => stands.push(stand),
                Err(reason) => self
                    .bench
                    .leave_out(&format!("pasv, {}", server.name()), &reason),
            }
        }
        for turn in 0..=turns {
            for stand in &mut stands {
                stand
                    .take_turn(turn > 0)
                    .with_context(|| stand.name.to_owned())?;
            }
        }
        let mut samples = Vec::new();
        for stand in &stands {
            let noop = Sorted::new(&stand.noop);
            for (metric, fraction) in [("median", 0.5), ("p99", 0.99)] {
                let noop = noop.at(fraction)?;
                samples.push(Sample::new("NOOP", stand.name, metric, "µs", noop));
                for (case, times) in [("PASV", &stand.pasv), ("EPSV", &stand.epsv)] {
                    let time = Sorted::new(times).at(fraction)?;
                    let sample = Sample::new(case, stand.name, metric, "µs", time);
                    samples.push(sample.against("own NOOP", noop));
                }
            }
        }
        Ok(compare(samples))
    }
}

/// A logged-in client of a running server.
struct Connected<'a> {
    name: &'a str,
    // Before the server: its session ends when this is closed.
    client: Client,
    noop: Vec<Duration>,
    pasv: Vec<Duration>,
    epsv: Vec<Duration>,
    _stand: Stand<'a>,
}

impl<'a> Connected<'a> {
    fn open(bench: &Bench, server: &'a dyn Server) -> Result<Self> {
        let stand = Stand::open(bench, server, Network::Veth, false)?;
        let client = stand.within(|| Client::login(stand.listen, ANONYMOUS, None))?;
        Ok(Self {
            name: server.name(),
            client,
            noop: Vec::new(),
            pasv: Vec::new(),
            epsv: Vec::new(),
            _stand: stand,
        })
    }

    fn take_turn(&mut self, counted: bool) -> Result<()> {
        for _ in 0..PER_TURN {
            // What the last EPSV has left to do is in no figure's way.
            self.client.timed("NOOP\r\n", 200)?;
            for (line, code, times) in [
                ("NOOP\r\n", 200, &mut self.noop),
                ("PASV\r\n", 227, &mut self.pasv),
                ("EPSV\r\n", 229, &mut self.epsv),
            ] {
                let took = self.client.timed(line, code)?;
                times.extend(took.filter(|_| counted));
            }
        }
        Ok(())
    }
}

/// Microseconds, ascending.
struct Sorted(Vec<f64>);

impl Sorted {
    fn new(times: &[Duration]) -> Self {
        let mut micros: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e6).collect();
        micros.sort_by(f64::total_cmp);
        Self(micros)
    }

    fn at(&self, fraction: f64) -> Result<f64> {
        quantile(&self.0, fraction).context("nothing was measured")
    }
}
