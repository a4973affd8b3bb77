//! `[timeouts]` and `[limits]`: how long things may take, and how many there may be.

use std::time::Duration;

use serde::Serialize;

use super::{AccountLimits, shown::duration};

/// How long things may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timeouts {
    /// Between two commands.
    #[serde(serialize_with = "duration")]
    pub idle: Duration,
    /// From connecting to being logged in.
    #[serde(serialize_with = "duration")]
    pub login: Duration,
    /// Between two bytes of a transfer.
    #[serde(serialize_with = "duration")]
    pub stall: Duration,
    /// For running transfers once the daemon is told to stop.
    #[serde(serialize_with = "duration")]
    pub drain: Duration,
    /// For the sessions of a process that another one has taken over from; zero: no limit.
    #[serde(serialize_with = "duration")]
    pub restart: Duration,
    /// For a new process, until it has taken over from this one.
    #[serde(serialize_with = "duration")]
    pub takeover: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            idle: Duration::from_secs(300),
            login: Duration::from_secs(60),
            stall: Duration::from_secs(60),
            drain: Duration::ZERO,
            restart: Duration::ZERO,
            takeover: Duration::from_secs(30),
        }
    }
}

/// How many of things there may be. 0 sessions means no limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Sessions at one time.
    pub sessions: usize,
    /// Sessions at one time from one address, or one /64 of IPv6.
    pub sessions_per_address: usize,
    /// Failed logins on one connection before it is closed; at least 1.
    pub login_failures: u32,
    /// Entries that LIST -R reads below the first directory; 0: it is LIST.
    pub recursive_entries: usize,
    /// How many directories, one in the other, it goes down; 0: it is LIST.
    pub recursive_depth: usize,
    /// What each account may use that has no limits of its own.
    pub account: AccountLimits,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            sessions: 10_000,
            sessions_per_address: 100,
            login_failures: 3,
            recursive_entries: 10_000,
            recursive_depth: 8,
            account: AccountLimits::default(),
        }
    }
}
