//! Standard error as the log's: lines go there by a thread of their own, so that nobody waits for a
//! reader that hangs or a disk that is full. What there is no room for is lost, counted, and told of.
//!
//! Not by tracing-appender: it says nothing of what it loses, and what it has to say at the end it prints
//! to standard output, which may be the same pipe that nobody reads.

use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{iter, mem, thread};

/// Bytes of lines that may wait. A line that comes then is lost.
const MOST_WAITING: usize = 1 << 20;

/// What a pipe takes in one piece (pipe(7), PIPE_BUF): the lines of two processes, of which one takes
/// over from the other, do not mix.
const PIECE: usize = 4096;

/// How long lines that come close together are gathered: to wake the thread for each costs more than
/// to write it.
const GATHER: Duration = Duration::from_millis(10);

/// How long the end of the process waits for the last lines.
const PATIENCE: Duration = Duration::from_secs(1);

static LINES: Lines = Lines::new(GATHER);

/// Takes lines, each in one write: at once, or once [`carry`] has been called by that thread. Fails
/// never.
#[derive(Debug, Clone, Copy)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        if !LINES.take(lines) {
            // Nobody is left to tell.
            let _ = io::stderr().write_all(lines);
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// From now on nobody waits for standard error.
pub fn carry() -> io::Result<()> {
    let lost = |lines: u64| {
        tracing::error!(
            lines,
            "lines of the log are lost: standard error was full, or nobody read it"
        );
    };
    let carrier = thread::Builder::new().name("log".to_owned());
    carrier.spawn(move || LINES.carry(io::stderr(), lost))?;
    LINES.lock().carried = true;
    Ok(())
}

/// Waits until all is written, but not for ever. To be called before the process ends.
pub fn flush() {
    LINES.flush(PATIENCE);
}

#[derive(Debug)]
struct Lines {
    gather: Duration,
    state: Mutex<State>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Debug)]
struct State {
    /// Whether there is a thread that carries them.
    carried: bool,
    /// Whether it has some in its hands.
    writing: bool,
    /// Whether somebody waits for it to be done.
    flushing: bool,
    waiting: Vec<u8>,
    /// Lines that nobody has been told of.
    lost: u64,
}

impl Lines {
    const fn new(gather: Duration) -> Lines {
        Lines {
            gather,
            state: Mutex::new(State {
                carried: false,
                writing: false,
                flushing: false,
                waiting: Vec::new(),
                lost: 0,
            }),
            filled: Condvar::new(),
            emptied: Condvar::new(),
        }
    }

    /// Has them carried, or counts them as lost; `false`: nobody carries.
    fn take(&self, lines: &[u8]) -> bool {
        let mut state = self.lock();
        if !state.carried {
            return false;
        }
        if state.waiting.len() + lines.len() > MOST_WAITING {
            state.lost += count(lines);
            return true;
        }
        // Whoever has some in its hands looks for more by itself.
        let asleep = state.waiting.is_empty() && !state.writing;
        state.waiting.extend_from_slice(lines);
        drop(state);
        if asleep {
            self.filled.notify_one();
        }
        true
    }

    /// Writes what comes, and has `tell` told how many lines were lost once `out` takes some again.
    fn carry(&self, mut out: impl Write, tell: impl Fn(u64)) {
        let mut lines = Vec::new();
        let mut torn = false;
        loop {
            self.next(&mut lines);
            let mut written = false;
            for piece in pieces(&lines) {
                let put = put(&mut out, piece, &mut torn);
                written = put.is_ok();
                if let Err(left) = put {
                    self.lock().lost += count(left);
                }
            }
            let lost = if written { self.lost() } else { 0 };
            if lost > 0 {
                tell(lost);
            }
            lines.clear();
            lines.shrink_to(PIECE);
        }
    }

    /// Waits for lines, and takes them in place of those that are done.
    fn next(&self, lines: &mut Vec<u8>) {
        let unhurried = |state: &mut State| !state.flushing;
        let gathered = self
            .filled
            .wait_timeout_while(self.lock(), self.gather, unhurried);
        let (mut state, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        state.writing = false;
        if state.waiting.is_empty() {
            self.emptied.notify_all();
        }
        let filled = self
            .filled
            .wait_while(state, |state| state.waiting.is_empty());
        let mut state = filled.unwrap_or_else(PoisonError::into_inner);
        state.writing = true;
        mem::swap(lines, &mut state.waiting);
    }

    /// How many lines were lost that nobody has been told of, if there is room for one that tells.
    fn lost(&self) -> u64 {
        let mut state = self.lock();
        match state.waiting.len() < MOST_WAITING / 2 {
            true => mem::take(&mut state.lost),
            false => 0,
        }
    }

    fn flush(&self, patience: Duration) {
        let busy = |state: &mut State| state.writing || !state.waiting.is_empty();
        let mut state = self.lock();
        state.flushing = true;
        self.filled.notify_one();
        // Poisoned or late: the process ends all the same.
        if let Ok((mut state, _)) = self.emptied.wait_timeout_while(state, patience, busy) {
            state.flushing = false;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // It is whole after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// Whole lines, as many as fit into a piece, but at least one.
fn pieces(mut lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_end = |&byte: &u8| byte == b'\n';
    iter::from_fn(move || {
        let fitting = lines.get(..PIECE).unwrap_or(lines);
        let last = fitting.iter().rposition(is_end);
        let end = last.or_else(|| lines.iter().position(is_end));
        let (piece, rest) = lines.split_at(end.map_or(lines.len(), |end| end + 1));
        lines = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Writes a piece; the error is what is left of it. A line that was `torn` before is ended first.
fn put<'a>(out: &mut impl Write, piece: &'a [u8], torn: &mut bool) -> Result<(), &'a [u8]> {
    if mem::take(torn) && out.write_all(b"\n").is_err() {
        *torn = true;
        return Err(piece);
    }
    let mut done = 0;
    while done < piece.len() {
        match out.write(&piece[done..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => {
                *torn = done > 0 && piece[done - 1] != b'\n';
                return Err(&piece[done..]);
            }
            Ok(written) => done += written,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
