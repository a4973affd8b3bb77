//! Plain downloads of a file in the page cache: how fast a server can give bytes to the kernel.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use ftp_tests::namespace::NetNs;

use super::{Bench, Rounds, Scenario};
use crate::{
    client::Client,
    row::{Sample, quantile},
    server::{Running, Server, Site},
};

const NAME: &str = "1GiB.bin";
const SIZE: u64 = 1 << 30;

/// Downloads of each server in a round that count.
const COUNTED: u32 = 9;

/// See [`Scenario::method`].
pub(crate) struct Transfer;

impl Scenario for Transfer {
    fn name(&self) -> &'static str {
        "transfer"
    }

    fn method(&self) -> &'static str {
        "RETR of 1 GiB of random bytes in the page cache, anonymous, over the loopback interface of a network\n\
         namespace made for each server and round; one stream, TCP congestion control reno on both sides.\n\
         The servers of a round take turns download by download, and who goes first turns from round to round.\n\
         CLOCK_MONOTONIC in the client from sending RETR (data connection already open) to reading its 226.\n\
         The client discards in the kernel (MSG_TRUNC), so the figure is the server's, not that of a client\n\
         that copies: a real client is slower with either. The first download of each is not counted, a round's\n\
         figure is the median of the next nine. Pinhole enforces with --attach auto; vsftpd has no lock at\n\
         all, as it ships."
    }

    fn rounds(&self, quick: bool) -> u32 {
        if quick { 3 } else { 15 }
    }

    fn prepare<'a>(&self, bench: &'a Bench) -> Result<Box<dyn Rounds + 'a>> {
        let root = bench.served_file(NAME, SIZE)?;
        Ok(Box::new(Pairs { bench, root }))
    }
}

struct Pairs<'a> {
    bench: &'a Bench,
    root: PathBuf,
}

impl Rounds for Pairs<'_> {
    fn round(&mut self, number: u32) -> Result<Vec<Sample>> {
        let mut stands = Vec::new();
        for server in self.bench.turn(number) {
            stands.push(Stand::open(server, &self.root).with_context(|| server.name().to_owned())?);
        }
        for download in 0..=COUNTED {
            for stand in &mut stands {
                let rate = stand.download().with_context(|| stand.name.to_owned())?;
                if download > 0 {
                    stand.rates.push(rate);
                }
            }
        }
        let mut rates = Vec::new();
        for stand in &mut stands {
            stand.rates.sort_by(f64::total_cmp);
            rates.push((
                stand.name,
                quantile(&stand.rates, 0.5).context("nothing was measured")?,
            ));
        }
        let sample = |&(name, rate): &(&str, f64)| {
            let sample = Sample::new("RETR 1 GiB", name, "rate", "MB/s", rate);
            let peers = rates.iter().filter(|(peer, _)| *peer != name);
            peers.fold(sample, |sample, (peer, theirs)| {
                sample.against(peer, *theirs)
            })
        };
        Ok(rates.iter().map(sample).collect())
    }
}

/// A running server and a client of it, in a namespace of their own.
struct Stand<'a> {
    name: &'a str,
    namespace: NetNs,
    // Before the server: its sessions end when this is closed.
    client: Client,
    rates: Vec<f64>,
    _server: Running,
}

impl<'a> Stand<'a> {
    fn open(server: &'a dyn Server, root: &Path) -> Result<Self> {
        let namespace = NetNs::new("bench")?;
        let listen: SocketAddr = ([127, 0, 0, 1], 21).into();
        let running = server.start(&Site {
            namespace: &namespace,
            listen,
            interface: "lo",
            root,
        })?;
        let client = namespace.run(|| Client::anonymous(listen))??;
        Ok(Self {
            name: server.name(),
            namespace,
            client,
            rates: Vec::new(),
            _server: running,
        })
    }

    /// Megabytes (10^6) per second.
    fn download(&mut self) -> Result<f64> {
        let client = &mut self.client;
        let (bytes, time) = self.namespace.run(|| client.discard(NAME))??;
        ensure!(bytes == SIZE, "{bytes} bytes came, the file has {SIZE}");
        Ok(bytes as f64 / 1e6 / time.as_secs_f64())
    }
}
