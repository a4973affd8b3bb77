//! What is measured. A scenario prepares once, then gives one set of figures per round; in a round it
//! measures every contestant, one right after the other, so that each ratio compares neighbours in
//! time. A new scenario is a file here and a line in [`all`].

mod ceiling;
mod flood;
mod goodput;
mod guard;
mod listing;
mod lock;
mod open;
mod pasv;
mod sessions;
mod stand;
mod timeline;
mod transfer;
mod verdict;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::Result;
use ftp_tests::{
    certificate::{self, Pair},
    peer::Brand,
};

use crate::{
    files::Files,
    row::Sample,
    server::{Server, peer::Peer, pinhole::Pinhole, unftp::Unftp},
};

/// Something to measure.
pub(crate) trait Scenario {
    /// As it is called on the command line.
    fn name(&self) -> &'static str;
    /// What is measured, by which clock, what is left out: enough for a sceptic to find the flaw.
    fn method(&self) -> &'static str;
    /// How often to go round.
    fn rounds(&self, quick: bool) -> u32;
    /// Does what is to be done once.
    fn prepare<'a>(&self, bench: &'a Bench) -> Result<Box<dyn Rounds + 'a>>;
}

/// A prepared scenario.
pub(crate) trait Rounds {
    /// Measures every contestant once.
    fn round(&mut self, number: u32) -> Result<Vec<Sample>>;
}

/// Every scenario.
pub(crate) fn all() -> Vec<Box<dyn Scenario>> {
    vec![
        Box::new(verdict::Verdict),
        Box::new(pasv::Pasv),
        Box::new(transfer::Transfer),
        Box::new(sessions::Sessions),
        Box::new(listing::Listing),
        Box::new(flood::FloodScenario),
        Box::new(goodput::Goodput),
        Box::new(open::Open),
        Box::new(timeline::Timeline),
        Box::new(guard::Guard),
    ]
}

/// How much is to be measured.
pub(crate) struct Wanted {
    /// Fewer rounds of less.
    pub(crate) quick: bool,
    /// Parts of the names of cases; none for all.
    pub(crate) cases: Vec<String>,
}

/// What scenarios share: the contestants, what is served, and what could not be measured.
pub(crate) struct Bench {
    pinhole: Pinhole,
    peers: Vec<Box<dyn Server>>,
    files: Files,
    certificate: Pair,
    /// What was left out, and why.
    missing: Mutex<BTreeMap<String, String>>,
    wanted: Wanted,
}

impl Bench {
    /// Finds the contestants; a peer that cannot be had is named with the reason. Peers are kept in
    /// `folder`, what is served in `memory`.
    pub(crate) fn new(
        pinhole: PathBuf,
        folder: &Path,
        memory: &Path,
        wanted: Wanted,
    ) -> Result<Self> {
        let bench = Self {
            pinhole: Pinhole::new(pinhole)?,
            peers: Vec::new(),
            files: Files::new(memory)?,
            certificate: certificate::write(memory)?,
            missing: Mutex::default(),
            wanted,
        };
        let debian = Brand::COMMON.map(|brand| (brand.name(), Peer::new(brand).map(boxed)));
        let unftp = ("libunftp", Unftp::new(folder).map(boxed));
        let found = debian.into_iter().chain([unftp]);
        Ok(found.fold(bench, |mut bench, (name, peer)| {
            match peer {
                Ok(peer) => bench.peers.push(peer),
                Err(reason) => bench.leave_out(name, &reason),
            }
            bench
        }))
    }

    /// Everyone, ours first.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &dyn Server> {
        let ours: &dyn Server = &self.pinhole;
        [ours]
            .into_iter()
            .chain(self.peers.iter().map(AsRef::as_ref))
    }

    /// Everyone in the order of a round: it turns from round to round, so that nobody always goes
    /// first.
    pub(crate) fn turn(&self, round: u32) -> Vec<&dyn Server> {
        let mut servers: Vec<_> = self.servers().collect();
        let shift = round as usize % servers.len();
        servers.rotate_left(shift);
        servers
    }

    /// Ours.
    pub(crate) fn pinhole(&self) -> &Pinhole {
        &self.pinhole
    }

    /// Notes that something cannot be measured, and why; it is said once, and stands in the results.
    pub(crate) fn leave_out(&self, what: &str, reason: &anyhow::Error) {
        let reason = format!("{reason:#}").replace(['\r', '\n'], " ");
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        if !missing.contains_key(what) {
            eprintln!("{:>12}  {what}: {reason}", "left out");
            missing.insert(what.to_owned(), reason);
        }
    }

    /// What is left out, and why.
    pub(crate) fn missing(&self) -> BTreeMap<String, String> {
        let missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.clone()
    }

    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    pub(crate) fn certificate(&self) -> &Pair {
        &self.certificate
    }

    pub(crate) fn quick(&self) -> bool {
        self.wanted.quick
    }

    /// Whether a case of this name is to be measured.
    pub(crate) fn wants(&self, case: &str) -> bool {
        let parts = &self.wanted.cases;
        parts.is_empty() || parts.iter().any(|part| case.contains(part))
    }
}

fn boxed(server: impl Server + 'static) -> Box<dyn Server> {
    Box::new(server)
}
