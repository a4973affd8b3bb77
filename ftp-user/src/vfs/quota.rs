//! How much an account keeps beneath its root, against its quota. What lies there is counted when
//! its first session begins, and kept up to date by every change that its sessions make.
//!
//! The disk is the only record: nothing is stored that could go stale or be lost, and a restart
//! counts again. Sizes are apparent ones (`st_size`), so holes count as if they were full.

mod elsewhere;
mod ledger;

pub use elsewhere::{Counter, serve as lend};
pub(super) use ledger::{Ledger, inode};

use std::collections::HashMap;
use std::fs::File;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::geteuid;

use self::elsewhere::{Elsewhere, Figures};
use super::census::{self, Census};
use super::{Credentials, wear};

/// After this long, a session that begins counts again: for changes made outside of FTP.
const RECOUNT: Duration = Duration::from_secs(3600);
/// How long a change waits for a count to end before the client hears that it is not yet possible.
const PATIENCE: Duration = Duration::from_secs(20);

/// What may be beneath an account's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaLimits {
    /// Bytes of all files.
    pub bytes: Option<NonZeroU64>,
    /// Files, directories, links and whatever else has a name.
    pub files: Option<NonZeroU64>,
}

/// How much there is, and how much there may be.
pub type Figure = (u64, u64);

/// What an account keeps and may keep; nothing where that is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all files: those that there are, and the most.
    pub bytes: Option<Figure>,
    /// Files, directories and links: those that there are, and the most.
    pub files: Option<Figure>,
    /// Bytes of the largest file.
    pub file_size: Option<u64>,
}

/// What is beneath an account's root. Shared by all of its sessions.
#[derive(Debug, Default)]
pub struct Quota {
    state: Mutex<State>,
    counted: Condvar,
    /// The disk may have changed in ways that are not known here. Apart from the state, which is held
    /// for as long as a disk takes.
    stale: AtomicBool,
    /// Set while the state is held.
    elsewhere: OnceLock<Elsewhere>,
}

/// Names a file whatever it is called: its device and its number there.
pub(super) type Inode = (u64, u64);

#[derive(Debug, Default)]
enum State {
    #[default]
    Unknown,
    Counting,
    Known(Account),
}

#[derive(Debug)]
struct Account {
    since: Instant,
    bytes: u64,
    files: u64,
    /// Files that are being written, with the bytes that are counted for each by now.
    writing: HashMap<Inode, u64>,
}

impl Quota {
    /// Counts what is beneath `root` on a thread of its own, if that is not known or long ago.
    /// As the daemon, which may see files that the account cannot; or else, where the daemon has
    /// not got root's rights, as the account, whose own files it is about.
    pub(super) fn begin(
        self: &Arc<Self>,
        root: &Arc<OwnedFd>,
        credentials: &Option<Arc<Credentials>>,
    ) {
        let mut state = self.lock();
        if self.elsewhere.get().is_some() {
            return;
        }
        match &*state {
            State::Counting => return,
            // What is being written is known here only.
            State::Known(known) if !known.writing.is_empty() => return,
            State::Known(known) if !self.is_stale() && known.since.elapsed() < RECOUNT => return,
            State::Unknown | State::Known(_) => *state = State::Counting,
        }
        // Before the count: what makes it stale from here on has it taken again.
        self.stale.store(false, Ordering::Relaxed);
        drop(state);
        let counting = Counting(Arc::clone(self));
        let (root, credentials) = (Arc::clone(root), credentials.clone());
        let thread = std::thread::Builder::new().name("quota".to_owned());
        let started = thread.spawn(move || counting.run(&root, &credentials));
        if let Err(error) = started {
            // The guard went with the closure and has told those who wait.
            tracing::error!(%error, "cannot start a thread to count an account's files");
        }
    }

    /// The same as the daemon, for an account that has no session here.
    pub fn begin_at(self: &Arc<Self>, root: &Path) {
        match File::open(root) {
            Ok(root) => self.begin(&Arc::new(root.into()), &None),
            Err(error) => tracing::error!(%error, "cannot count the files in {}", root.display()),
        }
    }

    fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed)
    }

    /// From here on another process counts what `account` has beneath `root`; that is asked. Blocks
    /// until a change that is under way is over.
    pub fn leave_to(&self, counter: &Arc<Counter>, account: &str, root: PathBuf) {
        let elsewhere = Elsewhere {
            account: account.to_owned(),
            root,
            counter: Arc::clone(counter),
        };
        let _state = self.lock();
        // Once only: there is one process that takes over.
        let _ = self.elsewhere.set(elsewhere);
    }

    /// Has the next session that begins count again: another process may have made changes.
    pub fn expire(&self) {
        self.stale.store(true, Ordering::Relaxed);
    }

    /// What is counted, for changes that nobody else of the account makes meanwhile. Waits for a
    /// count that is under way.
    pub(super) fn ledger(&self, limits: QuotaLimits) -> Result<Ledger<'_>, Errno> {
        let waited = self
            .counted
            .wait_timeout_while(self.lock(), PATIENCE, |state| {
                matches!(state, State::Counting)
            });
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if let Some(elsewhere) = self.elsewhere.get() {
            let (turn, figures) = elsewhere.take()?;
            state.set(figures);
            let turn = Some(turn);
            return Ok(Ledger {
                state,
                limits,
                turn,
            });
        }
        match &*state {
            State::Known(_) => Ok(Ledger {
                state,
                limits,
                turn: None,
            }),
            State::Counting => Err(Errno::AGAIN),
            // Logged when it failed.
            State::Unknown => Err(Errno::IO),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Figures are whole after every operation on them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A count that is under way; its drop ends the wait for it, also after a panic.
struct Counting(Arc<Quota>);

impl Counting {
    fn run(self, root: &OwnedFd, credentials: &Option<Arc<Credentials>>) {
        let started = Instant::now();
        let owner = credentials.as_ref().and_then(|them| them.owner.as_ref());
        let user = owner.map_or_else(geteuid, |owner| owner.uid);
        let mut taken = census::take(root, user);
        // The account may be let in where the daemon is not.
        if taken.as_ref().map_or(true, |census| census.closed > 0)
            && owner.is_some()
            && let Ok(Some(worn)) = wear(credentials)
        {
            let seen = census::take(root, user);
            drop(worn);
            taken = match (taken, seen) {
                (Ok(taken), Ok(seen)) if seen.closed >= taken.closed => Ok(taken),
                (Ok(taken), Err(_)) => Ok(taken),
                (_, seen) => seen,
            };
        }
        match taken {
            Ok(Census {
                bytes,
                files,
                closed,
                first_closed,
            }) => {
                if let Some((first, errno)) = first_closed {
                    tracing::warn!(closed, first = %first.display(), %errno,
                        "counted an account's files but for what is in these, which others have \
                         closed");
                }
                tracing::debug!(
                    bytes,
                    files,
                    seconds = started.elapsed().as_secs_f64(),
                    "counted an account's files"
                );
                *self.0.lock() = State::Known(Account {
                    since: started,
                    bytes,
                    files,
                    writing: HashMap::new(),
                });
            }
            Err(error) => tracing::error!(%error,
                "cannot count an account's files: until that is mended and they log in again, they can \
                 remove and not store"),
        }
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if matches!(*state, State::Counting) {
            *state = State::Unknown;
        }
        drop(state);
        self.0.counted.notify_all();
    }
}

impl State {
    /// What is being written stays.
    fn set(&mut self, Figures { bytes, files }: Figures) {
        let writing = match self {
            State::Known(account) => std::mem::take(&mut account.writing),
            State::Unknown | State::Counting => HashMap::new(),
        };
        *self = State::Known(Account {
            since: Instant::now(),
            bytes,
            files,
            writing,
        });
    }
}

#[cfg(test)]
impl Quota {
    /// Bytes and files as they are counted by now.
    pub(super) fn counted(&self) -> (u64, u64) {
        let ledger = self.ledger(QuotaLimits::default()).unwrap();
        let account = ledger.account().unwrap();
        assert!(account.writing.is_empty());
        (account.bytes, account.files)
    }
}
