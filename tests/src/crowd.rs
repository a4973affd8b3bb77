//! Many sessions at once: a thread for each.

use std::{net::SocketAddr, thread};

use anyhow::{Result, bail};

use crate::control::Control;

/// Runs `work` on one thread for each number below `threads`; fails with the first failure.
pub fn all(threads: u16, work: impl Fn(u16) -> Result<()> + Sync) -> Result<()> {
    let failures: Vec<String> = thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..threads).map(|n| scope.spawn(move || work(n))).collect();
        threads
            .into_iter()
            .enumerate()
            .filter_map(|(n, thread)| match thread.join() {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(format!("number {n}: {error:#}")),
                Err(_) => Some(format!("number {n} panicked")),
            })
            .collect()
    });
    match failures.first() {
        None => Ok(()),
        Some(first) => bail!("{} of {threads} failed; {first}", failures.len()),
    }
}

/// A passive port. Pure-FTPd answers 425 when two of its processes hit on one port at a time.
pub fn negotiate(session: &mut Control) -> Result<SocketAddr> {
    for _ in 0..3 {
        let hole = session.passive();
        match &hole {
            Err(error) if error.to_string().contains("< 425 ") => {}
            Ok(_) | Err(_) => return hole,
        }
    }
    session.passive()
}
