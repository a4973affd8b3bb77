//! The PASV round trip beside NOOP's: what negotiating a data port costs the client in waiting.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use ftp_tests::lab::{Family, Lab, server_address};

use super::{Bench, Rounds, Scenario};
use crate::{
    client::Client,
    row::{Sample, quantile},
    server::{Running, Server, Site},
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
         and PASV and waits for each reply. CLOCK_MONOTONIC around write and read in the client; the first turn\n\
         is not counted. Each PASV replaces the one before, so its time holds closing one port and opening the\n\
         next; no data connection is made. Median and p99 within a round; median, p10 and p90 of these over the\n\
         rounds. `own NOOP` is the same server's NOOP in the same round: what remains is negotiation."
    }

    fn rounds(&self, quick: bool) -> u32 {
        if quick { 3 } else { 15 }
    }

    fn prepare<'a>(&self, bench: &'a Bench) -> Result<Box<dyn Rounds + 'a>> {
        let root = bench.served_file("small.bin", 1 << 10)?;
        Ok(Box::new(Pairs { bench, root }))
    }
}

struct Pairs<'a> {
    bench: &'a Bench,
    root: PathBuf,
}

impl Rounds for Pairs<'_> {
    fn round(&mut self, number: u32) -> Result<Vec<Sample>> {
        let turns = if self.bench.quick() { 10 } else { 40 };
        let mut stands = Vec::new();
        for server in self.bench.turn(number) {
            stands.push(Stand::open(server, &self.root).with_context(|| server.name().to_owned())?);
        }
        for turn in 0..=turns {
            for stand in &mut stands {
                stand
                    .take_turn(turn > 0)
                    .with_context(|| stand.name.to_owned())?;
            }
        }
        let times: Vec<_> = stands
            .iter()
            .map(|stand| {
                (
                    stand.name,
                    Sorted::new(&stand.noop),
                    Sorted::new(&stand.pasv),
                )
            })
            .collect();
        let mut samples = Vec::new();
        for (name, noop, pasv) in &times {
            for (metric, fraction) in [("median", 0.5), ("p99", 0.99)] {
                let noop = noop.at(fraction)?;
                samples.push(Sample::new("NOOP", name, metric, "µs", noop));
                let mut sample = Sample::new("PASV", name, metric, "µs", pasv.at(fraction)?)
                    .against("own NOOP", noop);
                for (peer, _, theirs) in times.iter().filter(|(peer, ..)| peer != name) {
                    sample = sample.against(peer, theirs.at(fraction)?);
                }
                samples.push(sample);
            }
        }
        Ok(samples)
    }
}

/// A running server and a client of it, in a network of their own.
struct Stand<'a> {
    name: &'a str,
    // Before the server: its session ends when this is closed.
    client: Client,
    noop: Vec<Duration>,
    pasv: Vec<Duration>,
    _server: Running,
    _lab: Lab,
}

impl<'a> Stand<'a> {
    fn open(server: &'a dyn Server, root: &Path) -> Result<Self> {
        let lab = Lab::new()?;
        let listen = SocketAddr::new(server_address(Family::V4), 21);
        let running = server.start(&Site {
            namespace: &lab.server,
            listen,
            interface: "s0",
            root,
        })?;
        let client = lab.client.run(|| Client::anonymous(listen))??;
        Ok(Self {
            name: server.name(),
            client,
            noop: Vec::new(),
            pasv: Vec::new(),
            _server: running,
            _lab: lab,
        })
    }

    fn take_turn(&mut self, counted: bool) -> Result<()> {
        for _ in 0..PER_TURN {
            let noop = self.client.timed("NOOP\r\n", 200)?;
            let pasv = self.client.timed("PASV\r\n", 227)?;
            if counted {
                self.noop.push(noop);
                self.pasv.push(pasv);
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
