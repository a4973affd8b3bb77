//! Directory listings: names and facts of many files.

use anyhow::{Result, ensure};

use super::{
    Bench, Rounds, Scenario,
    stand::{Network, Stand},
};
use crate::{
    client::ANONYMOUS,
    row::{Sample, compare},
};

const COUNTS: [u32; 3] = [100, 10_000, 100_000];

/// See [`Scenario::method`].
pub(crate) struct Listing;

impl Scenario for Listing {
    fn name(&self) -> &'static str {
        "listing"
    }

    fn method(&self) -> &'static str {
        "LIST and MLSD (where a server has it) of folders with 100, 10,000 and 100,000 empty files on a tmpfs, in\n\
         the clear, over the loopback interface of a network namespace made for each server and round.\n\
         CLOCK_MONOTONIC in the client from sending the command (data connection open) to hearing 226; the bytes\n\
         are thrown away in the kernel. Each listing is taken once before the one that counts, so that names and\n\
         inodes are warm. Limits on the length of listings are lifted where a server has one; the servers differ\n\
         in order (sorted or not) and in facts, and are taken as they are. A listing that is too short to name\n\
         every file is left out, and said to be."
    }

    fn rounds(&self, quick: bool) -> u32 {
        if quick { 3 } else { 15 }
    }

    fn prepare<'a>(&self, bench: &'a Bench) -> Result<Box<dyn Rounds + 'a>> {
        for count in COUNTS {
            bench.files().many(&folder(count), count, 0)?;
        }
        Ok(Box::new(Pairs { bench }))
    }
}

fn folder(count: u32) -> String {
    format!("{count}-files")
}

struct Pairs<'a> {
    bench: &'a Bench,
}

impl Rounds for Pairs<'_> {
    fn round(&mut self, number: u32) -> Result<Vec<Sample>> {
        let mut stands = Vec::new();
        for server in self.bench.turn(number) {
            match Stand::open(self.bench, server, Network::Loopback, false) {
                Ok(stand) => stands.push(stand),
                Err(reason) => self
                    .bench
                    .leave_out(&format!("listing, {}", server.name()), &reason),
            }
        }
        let mut samples = Vec::new();
        for verb in ["LIST", "MLSD"] {
            for count in COUNTS {
                let case = format!("{verb} of {count}");
                if !self.bench.wants(&case) {
                    continue;
                }
                let mut times = Vec::new();
                for stand in &stands {
                    let name = stand.server.name();
                    match measure(stand, verb, count) {
                        Ok(milliseconds) => {
                            times.push(Sample::new(&case, name, "time", "ms", milliseconds));
                        }
                        Err(reason) => self
                            .bench
                            .leave_out(&format!("listing, {case}, {name}"), &reason),
                    }
                }
                samples.extend(compare(times));
            }
        }
        Ok(samples)
    }
}

fn measure(stand: &Stand<'_>, verb: &str, count: u32) -> Result<f64> {
    let mut sessions = stand.sessions(1, ANONYMOUS, None)?;
    stand.within(|| {
        let client = &mut sessions[0];
        client.expect(&format!("CWD {}\r\n", folder(count)), 250)?;
        let line = format!("{verb}\r\n");
        client.fetch(&line)?;
        let (bytes, time) = client.fetch(&line)?;
        // The shortest line that names a file, an end of line and facts of any kind.
        ensure!(
            bytes >= u64::from(count) * 20,
            "{bytes} bytes cannot name {count} files"
        );
        Ok(time.as_secs_f64() * 1e3)
    })
}
