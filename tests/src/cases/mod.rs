//! The one table of packet cases: a frame, what the host knows when it comes, and what becomes of
//! it. It is run three times: over the decision itself with an in-memory host ([`Memory`]), and over
//! the loaded XDP and tcx programs ([`Loaded`]). No case knows which of the three is running.

mod flags;
mod forward;
mod fragment;
mod host;
mod ipv4;
mod ipv6;
mod link;
mod loaded;
mod memory;
mod packet;
mod pinhole;
mod segment;

use ftp_ebpf::reason::Reason;

pub use self::{
    host::{
        CLIENT_PORT, CONNECTED_FROM, CONNECTED_PORT, GUARDED, Hole, Host, LISTENING_PORT, Life,
        Taken, client, connection, is_guarded, is_own, server,
    },
    loaded::{Loaded, Sockets, Verdict},
    memory::Memory,
    packet::{Extension, Fragment, Packet},
};

/// A packet and what must become of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// Theme and difference, unique.
    pub name: String,
    /// The frame, from the Ethernet header on.
    pub frame: Vec<u8>,
    /// What the host knows.
    pub host: Host,
    /// What must become of it, and why.
    pub expected: Reason,
    /// The source port that must have taken the first pinhole with this packet; otherwise every
    /// pinhole must be as it was.
    pub takes: Option<u16>,
}

impl Case {
    fn new(name: impl Into<String>, frame: Vec<u8>, host: Host, expected: Reason) -> Case {
        Case {
            name: name.into(),
            frame,
            host,
            expected,
            takes: None,
        }
    }

    fn taking(mut self, port: u16) -> Case {
        self.takes = Some(port);
        self
    }
}

/// Every case.
pub fn all() -> Vec<Case> {
    [
        link::cases(),
        ipv4::cases(),
        ipv6::cases(),
        fragment::cases(),
        flags::cases(),
        pinhole::cases(),
        segment::cases(),
        forward::cases(),
    ]
    .concat()
}

/// `frame` cut off at every byte before its end, each with the reason that `expected` gives for
/// so many bytes.
fn truncations(
    name: &str,
    frame: &[u8],
    host: &Host,
    expected: impl Fn(usize) -> Reason,
) -> Vec<Case> {
    (0..frame.len())
        .map(|len| {
            Case::new(
                format!("{name}, only {len} bytes"),
                frame[..len].to_vec(),
                host.clone(),
                expected(len),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let all = all();
        let names: BTreeSet<_> = all.iter().map(|case| &case.name).collect();
        assert_eq!(names.len(), all.len());
    }

    #[test]
    fn every_reason_of_a_packet_has_a_case() {
        let cases = all();
        for reason in Reason::ALL {
            // These are the socket lookup's, which sees no packets.
            if matches!(
                reason,
                Reason::Steered | Reason::NotSteered | Reason::InternalListener
            ) {
                continue;
            }
            assert!(
                cases.iter().any(|case| case.expected == *reason),
                "{}",
                reason.name()
            );
        }
    }
}
