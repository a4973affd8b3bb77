//! What goes on without the daemon: maps and links pinned in a bpffs, one folder for each network
//! namespace and in it one for each layout of the maps.
//!
//! ```text
//! /sys/fs/bpf/pinhole-guard/net-4026531840/9a3f…-131072-32-128/PINHOLES, …   maps
//!                                                              watch, reads  tracepoints' links
//!                                                              lock-2-native locks' links
//! ```
//!
//! A guard that finds its own layout loads its programs over these maps; of another layout it uses
//! nothing but the locks' links, whose programs it replaces. In both, the earlier programs work
//! until the new ones do.

mod error;
mod folder;
mod release;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use aya::programs::links::FdLink;
use ftp_ebpf::abi::FINGERPRINT;

pub use self::error::PinsError;
use self::folder::{
    FOLDER, failed, hold, home, is_bpffs, leave_nothing, list, make, names_in, remove_folder,
};
pub(super) use self::release::{release, release_all};
use super::super::{
    Object,
    attach::{Attached, Mode},
    bpf_link::BpfLink,
};
use crate::config::Enforce;

/// The folders of one network namespace, held against other guards.
pub(super) struct Pins {
    /// Of the namespace.
    home: PathBuf,
    /// Of this build's layout and these settings.
    current: PathBuf,
    /// The current folder was made by this process and is not whole yet.
    unfinished: bool,
    _held: File,
}

impl Pins {
    /// The link of the tracepoint that sees sockets change state. Pinned last: with it, the rest is
    /// whole.
    pub(super) const WATCH: &str = "watch";
    /// The link of the tracepoint that sees reads.
    pub(super) const READS: &str = "reads";

    /// The folders of the network namespace with that inode number; none where there are none and
    /// none are wanted.
    pub(super) fn open(
        bpffs: &Path,
        namespace: u32,
        enforce: &Enforce,
        wanted: bool,
    ) -> Result<Option<Self>, PinsError> {
        let home = home(bpffs, namespace);
        if !is_bpffs(bpffs) {
            return match wanted {
                true => Err(PinsError::NoBpffs(bpffs.to_owned())),
                false => Ok(None),
            };
        }
        if wanted {
            make(&home)?;
        } else if !home.exists() {
            return Ok(None);
        }
        let held = hold(&home)?;
        let layout = format!(
            "{FINGERPRINT:016x}-{}-{}-{}",
            enforce.max_pinholes, enforce.client_prefix_v4, enforce.client_prefix_v6
        );
        Ok(Some(Self {
            current: home.join(layout),
            home,
            unfinished: false,
            _held: held,
        }))
    }

    /// Where this layout's maps are, if a guard has left them whole.
    pub(super) fn left(&self) -> Option<&Path> {
        self.current
            .join(Self::WATCH)
            .exists()
            .then_some(self.current.as_path())
    }

    /// Whether a guard of another layout has left anything.
    pub(super) fn has_foreign(&self) -> bool {
        self.layouts().iter().any(|layout| *layout != self.current)
    }

    /// Pins the maps of a newly loaded object.
    pub(super) fn keep_maps(&mut self, object: &Object) -> Result<(), PinsError> {
        // What a guard has left that did not get as far as its last link.
        if self.current.exists() {
            remove_folder(&self.current);
        }
        self.unfinished = true;
        make(&self.current)?;
        Ok(object.pin_maps(&self.current)?)
    }

    /// Pins a link in place of an earlier one of that name; without `pins`, leaves it as it is.
    pub(super) fn keep(
        pins: Option<&Self>,
        link: FdLink,
        name: &str,
    ) -> Result<FdLink, super::StartError> {
        let Some(pins) = pins else { return Ok(link) };
        let pinned = pins.replace(name, |path| link.pin(path))?;
        Ok(pinned.into())
    }

    /// Pins a lock's link.
    pub(super) fn keep_lock(
        pins: Option<&Self>,
        lock: Attached,
    ) -> Result<Attached, super::StartError> {
        if let Some(pins) = pins {
            let name = lock_name(lock.index, lock.mode);
            pins.replace(&name, |path| lock.link.pin(path))?;
        }
        Ok(lock)
    }

    /// Has something pinned, and puts that pin in the place of an earlier one of that name.
    fn replace<T, E>(
        &self,
        name: &str,
        pin: impl FnOnce(&Path) -> Result<T, E>,
    ) -> Result<T, PinsError>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let path = self.current.join(name);
        let new = self.current.join(format!("{name}-new"));
        // Of a guard that was killed between the two steps. A bpffs takes no dots in names.
        let _ = fs::remove_file(&new);
        let pinned = pin(&new).map_err(|source| PinsError::Link {
            path: new.clone(),
            source: Box::new(source),
        })?;
        fs::rename(&new, &path).map_err(failed("rename", &new))?;
        Ok(pinned)
    }

    /// The link of a lock that an earlier guard has left, of whatever layout. An interface has one
    /// XDP program: where that was attached in another mode, it goes first.
    pub(super) fn lock(&self, index: u32, mode: Mode) -> Option<BpfLink> {
        let find = |mode| {
            let name = lock_name(index, mode);
            let pins = self.layouts().into_iter().map(|layout| layout.join(&name));
            pins.filter_map(|pin| Some((BpfLink::from_pin(&pin).ok()?, pin)))
                .next()
        };
        if let Some((link, _)) = find(mode) {
            return Some(link);
        }
        let other = match mode {
            Mode::Native => find(Mode::Generic),
            Mode::Generic => find(Mode::Native),
            Mode::Tcx => None,
        };
        if let Some((_detached, pin)) = other
            && let Err(error) = fs::remove_file(pin)
        {
            tracing::warn!(%error, "cannot take an earlier guard's lock away");
        }
        None
    }

    /// Takes one pin away, if it is there.
    pub(super) fn remove(&self, name: &str) {
        let path = self.current.join(name);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "cannot remove {}", path.display()),
        }
    }

    /// Takes a lock's pin away: its interface has gone.
    pub(super) fn remove_lock(&self, lock: &Attached) {
        self.remove(&lock_name(lock.index, lock.mode));
    }

    /// Everything is pinned: takes away what earlier guards have left and this one does not use,
    /// other layouts, the locks of other interfaces, and, unless `reads` are watched, who watched them.
    pub(super) fn settle<'a>(&mut self, locks: impl Iterator<Item = &'a Attached>, reads: bool) {
        self.unfinished = false;
        if !reads {
            self.remove(Self::READS);
        }
        let used: Vec<String> = locks.map(|lock| lock_name(lock.index, lock.mode)).collect();
        for layout in self.layouts() {
            if layout == self.current {
                for name in names_in(&layout) {
                    if name.starts_with(LOCK) && !used.contains(&name) {
                        self.remove(&name);
                    }
                }
            } else {
                remove_folder(&layout);
            }
        }
    }

    /// Takes everything away. What has a descriptor in this process goes on until that is closed.
    pub(super) fn remove_all(&self) {
        remove_folder(&self.home);
        leave_nothing(&self.home);
    }

    fn layouts(&self) -> Vec<PathBuf> {
        names_in(&self.home)
            .into_iter()
            .map(|name| self.home.join(name))
            .collect()
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if self.unfinished {
            remove_folder(&self.current);
        }
    }
}

/// The folders, of all network namespaces, in which there is something whole.
///
/// # Errors
///
/// They are root's.
pub fn pinned_layouts(bpffs: &Path) -> io::Result<Vec<PathBuf>> {
    let folder = bpffs.join(FOLDER);
    let layouts = list(&folder)?.into_iter().flat_map(|home| {
        let home = folder.join(home);
        names_in(&home)
            .into_iter()
            .map(move |layout| home.join(layout))
    });
    Ok(layouts
        .filter(|layout| layout.join(Pins::WATCH).exists())
        .collect())
}

const LOCK: &str = "lock-";

fn lock_name(index: u32, mode: Mode) -> String {
    let mode = match mode {
        Mode::Native => "native",
        Mode::Generic => "generic",
        Mode::Tcx => "tcx",
    };
    format!("{LOCK}{index}-{mode}")
}
