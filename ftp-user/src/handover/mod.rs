//! A restart without a gap: a new process of the daemon takes over from the one that runs, while
//! that goes on serving; the sessions of the old one end there.
//!
//! ```text
//! old (leave.rs)                                    new (enter.rs)
//!   starts the new one with one end of a channel ──►  Hello: who it is
//!   Offer: what must be the same; listeners      ──►  reads its settings, loads its programs
//!                                                ◄──  Prepared
//!   stops accepting data, opens nothing;
//!   Estate: pinholes, locks' links, acceptors    ──►  takes them: its programs into the links
//!                                                ◄──  Taken
//!   stops accepting sessions, lets go of all; Go ──►  accepts
//!   how many sessions are left (server/remains)  ──►  counts them with its own
//!   its sessions' pinholes: asked for            ◄─►  opened, accepted, sent
//! ```
//!
//! Until Taken, whatever goes wrong in the new process ends it, and the old one is as it was. From
//! then on there is no way back; and at no moment do two processes write one table.

mod enter;
mod leave;

pub use enter::{Arrival, Taken, inherited};
pub use leave::{Departure, Program};

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::session::Start;

/// Another number, another protocol: of what the two say here, and what `pinholes` says.
const PROTOCOL: u32 = 2;
/// How long no pinhole may be opened because it is not settled who keeps the table.
const PAUSE: Duration = Duration::from_secs(10);
/// In the environment of the new process: its end of the channel is its standard input.
const VARIABLE: &str = "PINHOLE_TAKE_OVER";

/// Why the new process has not taken over.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// It could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The two could not talk.
    #[error("cannot talk to the other process: {0}")]
    Channel(#[from] io::Error),
    /// It ended without a word; its own words are in the log.
    #[error("the other process has ended")]
    Ended,
    /// It said something else than it should have.
    #[error("the other process does not keep to the protocol")]
    Protocol,
    /// The new process cannot use its settings, or the kernel refuses it something.
    #[error("{0}")]
    Failed(String),
    /// It did not come to an end.
    #[error("it did not take over in time (timeouts.takeover)")]
    Late,
    /// It kept pinholes from being opened for too long.
    #[error("it did not take locks and pinholes over within {} s", PAUSE.as_secs())]
    Slow,
    /// The two are of versions that do not understand each other.
    #[error(
        "the process that runs (version {0}) speaks another protocol of handing over: stop and start \
         it once"
    )]
    Version(String),
    /// A setting that the pinholes of running sessions depend on.
    #[error("{0} has changed, which needs a stop and a start: sessions that run depend on it")]
    Fixed(String),
}

/// What must be the same in both processes, because pinholes that wait depend on it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Fixed {
    enforced: bool,
    ports: String,
    prefix_v4: u8,
    prefix_v6: u8,
}

impl Fixed {
    fn of(config: &Config) -> Fixed {
        Fixed {
            enforced: config.enforce.enabled,
            ports: config.passive.ports.to_string(),
            prefix_v4: config.enforce.client_prefix_v4,
            prefix_v6: config.enforce.client_prefix_v6,
        }
    }

    /// The settings that are not the same.
    fn differences(&self, other: &Fixed) -> Vec<&'static str> {
        [
            (self.enforced != other.enforced, "enforce.enabled"),
            (self.ports != other.ports, "passive.ports"),
            (
                self.prefix_v4 != other.prefix_v4,
                "enforce.client_prefix_v4",
            ),
            (
                self.prefix_v6 != other.prefix_v6,
                "enforce.client_prefix_v6",
            ),
        ]
        .into_iter()
        .filter_map(|(differs, name)| differs.then_some(name))
        .collect()
    }
}

/// What the old process says.
#[derive(Debug, Serialize, Deserialize)]
enum Old {
    Offer {
        protocol: u32,
        version: String,
        fixed: Fixed,
        /// The listeners were given by the service manager.
        given: bool,
    },
    /// With its socket.
    Listener { implicit_tls: bool },
    /// There are no more listeners.
    Offered,
    /// With the socket by which it tells of the sessions that are left.
    Remains,
    /// It accepts no more. With the socket by which it asks about quotas.
    Go { next_session: u64 },
}

/// What the new process says.
#[derive(Debug, Serialize, Deserialize)]
enum New {
    Hello { pid: u32 },
    Failed { why: String },
    Prepared,
    Taken,
}

fn implicit_tls(start: Start) -> bool {
    match start {
        Start::Clear => false,
        Start::Tls => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pinholes_depend_on_must_be_the_same() {
        let config = Config::default();
        let fixed = Fixed::of(&config);
        assert!(fixed.differences(&Fixed::of(&config)).is_empty());
        let mut other = config;
        other.greeting = "Hello.".to_owned();
        other.enforce.max_pinholes = 7;
        assert!(fixed.differences(&Fixed::of(&other)).is_empty());
        other.passive.ports = "40000-40009".parse().unwrap();
        other.enforce.client_prefix_v4 = 24;
        let names = ["passive.ports", "enforce.client_prefix_v4"];
        assert_eq!(fixed.differences(&Fixed::of(&other)), names);
    }
}
