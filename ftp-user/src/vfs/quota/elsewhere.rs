//! Quotas of accounts that have sessions in two processes: the new one counts, and the old one takes
//! the figures from it for each change and puts them back after it, so that no change is between.
//!
//! One line of JSON a message, over a pair of sockets; blocking, like the changes themselves.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{PATIENCE, Quota, QuotaLimits};

/// What the old process says.
#[derive(Debug, Serialize, Deserialize)]
enum Ask {
    Take { account: String, root: PathBuf },
    Put(Figures),
}

/// What the new process says.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Figures(Figures),
    Refused(i32),
}

/// What is beneath a root.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Figures {
    pub(super) bytes: u64,
    pub(super) files: u64,
}

/// The process that counts, for one that does not.
#[derive(Debug)]
pub struct Counter(Mutex<BufReader<UnixStream>>);

impl Counter {
    /// Asks by this socket, whose other end [`serve`] has.
    pub fn new(socket: UnixStream) -> io::Result<Counter> {
        socket.set_read_timeout(Some(2 * PATIENCE))?;
        Ok(Counter(Mutex::new(BufReader::new(socket))))
    }
}

/// Whose figures are counted elsewhere.
#[derive(Debug)]
pub(super) struct Elsewhere {
    pub(super) account: String,
    pub(super) root: PathBuf,
    pub(super) counter: Arc<Counter>,
}

/// Nobody else changes the figures while this lives.
#[derive(Debug)]
pub(super) struct Turn<'a>(MutexGuard<'a, BufReader<UnixStream>>);

impl Elsewhere {
    pub(super) fn take(&self) -> Result<(Turn<'_>, Figures), Errno> {
        // After an error nothing is answered any more.
        let lock = self.counter.0.lock();
        let mut turn = Turn(lock.unwrap_or_else(PoisonError::into_inner));
        let (account, root) = (self.account.clone(), self.root.clone());
        let asked = say(turn.0.get_mut(), &Ask::Take { account, root });
        match asked.and_then(|()| hear(&mut turn.0)) {
            Ok(Some(Answer::Figures(figures))) => Ok((turn, figures)),
            Ok(Some(Answer::Refused(errno))) => Err(Errno::from_raw_os_error(errno)),
            Ok(None) => Err(Errno::IO),
            Err(error) => {
                tracing::error!(%error, "cannot ask the process that counts quotas; it is asked no \
                    more");
                // Its answer may still come, and would be taken for the next account's figures.
                let _ = turn.0.get_ref().shutdown(Shutdown::Both);
                Err(Errno::IO)
            }
        }
    }
}

impl Turn<'_> {
    pub(super) fn put(&mut self, figures: Figures) {
        if let Err(error) = say(self.0.get_mut(), &Ask::Put(figures)) {
            tracing::error!(%error, "cannot tell the process that counts quotas");
        }
    }
}

/// Lends figures to the other end until it is closed. `quota` finds those of an account beneath a
/// root.
pub fn serve(socket: UnixStream, quota: impl Fn(&str, PathBuf) -> Arc<Quota>) -> io::Result<()> {
    let mut socket = BufReader::new(socket);
    loop {
        socket.get_ref().set_read_timeout(None)?;
        let Some(Ask::Take { account, root }) = hear(&mut socket)? else {
            return Ok(());
        };
        let quota = quota(&account, root);
        let mut ledger = match quota.ledger(QuotaLimits::default()) {
            Ok(ledger) => ledger,
            Err(errno) => {
                say(socket.get_mut(), &Answer::Refused(errno.raw_os_error()))?;
                continue;
            }
        };
        say(socket.get_mut(), &Answer::Figures(ledger.figures()))?;
        // Others wait for it meanwhile.
        socket.get_ref().set_read_timeout(Some(PATIENCE))?;
        match hear(&mut socket)? {
            Some(Ask::Put(figures)) => ledger.set_figures(figures),
            Some(Ask::Take { .. }) | None => return Ok(()),
        }
    }
}

fn say<T: Serialize>(socket: &mut UnixStream, message: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    socket.write_all(&line)
}

fn hear<T: DeserializeOwned>(socket: &mut BufReader<UnixStream>) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    match socket.read_until(b'\n', &mut line)? {
        0 => Ok(None),
        _ => Ok(Some(serde_json::from_slice(&line)?)),
    }
}
