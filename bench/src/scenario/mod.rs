//! What is measured. A scenario prepares once, then gives one set of figures per round; in a round it
//! measures every contestant, one right after the other, so that each ratio compares neighbours in
//! time. A new scenario is a file here and a line in [`all`].

mod pasv;
mod transfer;
mod verdict;

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    row::Sample,
    server::{Server, pinhole::Pinhole, vsftpd::Vsftpd},
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
    ]
}

/// What scenarios share: the contestants, and a folder for what they keep.
pub(crate) struct Bench {
    pinhole: Pinhole,
    peers: Vec<Box<dyn Server>>,
    absent: Vec<String>,
    folder: PathBuf,
    quick: bool,
}

impl Bench {
    /// Finds the contestants; a peer that cannot be had is named with the reason.
    pub(crate) fn new(pinhole: PathBuf, folder: PathBuf, quick: bool) -> Result<Self> {
        let mut peers: Vec<Box<dyn Server>> = Vec::new();
        let mut absent = Vec::new();
        match Vsftpd::new(&folder.join("peers")) {
            Ok(vsftpd) => peers.push(Box::new(vsftpd)),
            Err(reason) => absent.push(format!("vsftpd: {reason:#}")),
        }
        Ok(Self {
            pinhole: Pinhole::new(pinhole)?,
            peers,
            absent,
            folder,
            quick,
        })
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

    /// Peers that cannot be had here, and why.
    pub(crate) fn absent(&self) -> &[String] {
        &self.absent
    }

    pub(crate) fn quick(&self) -> bool {
        self.quick
    }

    /// A folder with one file of random bytes of that size, made once and now in the page cache.
    pub(crate) fn served_file(&self, name: &str, size: u64) -> Result<PathBuf> {
        let folder = self.folder.join("files");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join(name);
        if fs::metadata(&path).map(|metadata| metadata.len()).ok() != Some(size) {
            eprintln!("{:>12}  {} ({} MiB)", "making", path.display(), size >> 20);
            random_file(&path, size).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let read = File::open(&path).and_then(|mut file| io::copy(&mut file, &mut io::sink()));
        read.with_context(|| format!("cannot read {}", path.display()))?;
        Ok(folder)
    }
}

fn random_file(path: &Path, size: u64) -> io::Result<()> {
    let partial = path.with_extension("partial");
    io::copy(
        &mut File::open("/dev/urandom")?.take(size),
        &mut File::create(&partial)?,
    )?;
    fs::rename(&partial, path)
}
