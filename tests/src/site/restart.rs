//! Restarts of a site's daemon (SIGUSR2), and those who may not notice them.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{Result, anyhow, ensure};
use rustix::process::Signal;

use super::{Site, server_end};
use crate::{
    files,
    lab::{self, Family},
    wait,
};

impl Site {
    /// A session from its greeting to its QUIT, with a download of `small`, which holds `content`.
    pub fn visit(&self, content: &[u8]) -> Result<()> {
        let mut session = self.anonymous(Family::V4, 0)?;
        files::ensure_equal("a download", &session.retrieve("small")?, content)?;
        session.expect("QUIT", 221).map(drop)
    }

    /// Runs `work` while visits of `small` come and go and a stranger tries the passive ports;
    /// neither may notice.
    pub fn besieged<T>(&self, content: &[u8], work: impl FnOnce() -> Result<T>) -> Result<T> {
        let over = AtomicBool::new(false);
        let wire = self.lab.client_wire()?;
        thread::scope(|scope| {
            let visits = scope.spawn(|| {
                let mut visits = 0_u32;
                while !over.load(Ordering::Relaxed) {
                    self.visit(content)?;
                    visits += 1;
                }
                Ok::<_, anyhow::Error>(visits)
            });
            let tries = scope.spawn(|| {
                let stranger = lab::client_address(Family::V4, 1);
                let mut tries = 0_u32;
                for port in (30000..=30015).cycle() {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    self.ensure_silent(&wire, stranger, server_end(Family::V4, port))?;
                    tries += 1;
                }
                Ok::<_, anyhow::Error>(tries)
            });
            let done = work();
            over.store(true, Ordering::Relaxed);
            let visits = visits.join().map_err(|_| anyhow!("a visitor panicked"))??;
            let tries = tries
                .join()
                .map_err(|_| anyhow!("the stranger panicked"))??;
            ensure!(visits > 0 && tries > 0, "{visits} visits, {tries} tries");
            done
        })
    }

    /// A restart that succeeds behind others that did not.
    pub fn takes_over(&self) -> Result<()> {
        let said = self.daemon.log().len();
        self.daemon.signal(Signal::USR2)?;
        wait::until("it takes over", || {
            self.daemon.log()[said..].contains("has taken over;")
        })
    }

    /// Waits until the daemon has said that a restart was refused, and `why`.
    pub fn until_refused(&self, why: &str) -> Result<()> {
        wait::until("the restart is refused", || {
            self.daemon
                .has_said(|line| line.contains("restart refused") && line.contains(why))
        })
    }
}
