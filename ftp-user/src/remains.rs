//! What the sessions that are left in an old process count for in the new one, whose limits are for both:
//! the words for it. Who counts what is others' to know; see `server/remains.rs` for the way.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedSender;

/// What the old process says. Figures are as they are then, not changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// So many sessions are left of a client's address.
    Address {
        /// The address, or the network that it stands for.
        client: IpAddr,
        /// How many.
        sessions: usize,
    },
    /// So many sessions are left of an account that has limits.
    Account {
        /// Its name.
        name: String,
        /// How many.
        sessions: usize,
    },
    /// Logins have failed.
    Failed(FailedLogins),
    /// What there was at the beginning has been said.
    Whole,
}

/// Logins that have failed, by one whole network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedLogins {
    /// The network's first address.
    pub network: IpAddr,
    /// How many.
    pub failures: u32,
    /// How many of them were for which name, of some names. An older version tells of none.
    #[serde(default)]
    pub names: Vec<(u64, u32)>,
    /// How long its next password has to wait.
    pub wait: Duration,
}

/// Where a count is told, once another process has taken over. Until then it costs nothing.
#[derive(Debug, Clone, Default)]
pub struct Teller(Arc<OnceLock<UnboundedSender<Told>>>);

impl Teller {
    /// Tells from now on.
    pub fn begin(&self, told: &UnboundedSender<Told>) {
        // There is one handover in a process's life.
        let _ = self.0.set(told.clone());
    }

    /// Tells, if anybody is to be told.
    pub fn tell(&self, what: impl FnOnce() -> Told) {
        if let Some(told) = self.0.get() {
            // Who does not listen any more has ended.
            let _ = told.send(what());
        }
    }
}
