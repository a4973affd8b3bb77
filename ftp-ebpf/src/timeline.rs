//! What becomes of a data connection, step by step, as `pinhole trace` tells it. Pure; the
//! tracepoint programs feed it what they see.

use crate::abi::Transfer;

/// Socket states (include/net/tcp_states.h).
const TCP_ESTABLISHED: i32 = 1;
const TCP_SYN_SENT: i32 = 2;
const TCP_SYN_RECV: i32 = 3;
const TCP_CLOSE: i32 = 7;
const TCP_LISTEN: i32 = 10;

/// What a change of a socket's state means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It waits for connections.
    Listening,
    /// It sends a SYN.
    Connecting,
    /// Somebody has connected to us.
    Arrived,
    /// We have connected.
    Connected,
    /// One of the two ends has closed.
    Ended,
    /// Nothing is left of it.
    Closed,
}

impl Change {
    /// From the state before and the one after.
    #[inline(always)]
    pub const fn of(old: i32, new: i32) -> Option<Self> {
        match (old, new) {
            (_, TCP_LISTEN) => Some(Self::Listening),
            (TCP_LISTEN, _) => None,
            (_, TCP_CLOSE) => Some(Self::Closed),
            (_, TCP_SYN_SENT) => Some(Self::Connecting),
            (TCP_SYN_RECV, TCP_ESTABLISHED) => Some(Self::Arrived),
            (TCP_SYN_SENT, TCP_ESTABLISHED) => Some(Self::Connected),
            (TCP_ESTABLISHED, _) => Some(Self::Ended),
            (_, _) => None,
        }
    }
}

/// A step of a data connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// We send a SYN.
    Syn,
    /// The handshake is complete.
    Established,
    /// accept(2) has returned it.
    Accepted,
    /// The server has sent something.
    Sent,
    /// The server has read something.
    Received,
    /// One of the two ends has closed.
    Ended,
}

impl Transfer {
    /// Notes a step. The first of its kind counts, and for bytes the last one as well.
    #[inline(always)]
    pub fn note(&mut self, step: Step, now_ns: u64) {
        let first = match step {
            Step::Syn => &mut self.syn_ns,
            Step::Established => &mut self.established_ns,
            Step::Accepted => &mut self.accepted_ns,
            Step::Ended => &mut self.ended_ns,
            Step::Sent | Step::Received => {
                self.last_byte_ns = now_ns;
                if self.first_byte_ns == 0 {
                    self.sent = u32::from(matches!(step, Step::Sent));
                }
                &mut self.first_byte_ns
            }
        };
        if *first == 0 {
            *first = now_ns;
        }
    }

    /// Notes that the server has read up to this sequence number. It may be where it was before; and
    /// once the client has closed, one number more is its FIN (RFC 9293, section 3.4).
    #[inline(always)]
    pub fn read_up_to(&mut self, copied_seq: u32, now_ns: u64) {
        let more = copied_seq.wrapping_sub(self.copied_seq);
        self.copied_seq = copied_seq;
        if more > u32::from(self.ended_ns != 0) {
            self.note(Step::Received, now_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP_FIN_WAIT1: i32 = 4;
    const TCP_CLOSE_WAIT: i32 = 8;
    const TCP_LAST_ACK: i32 = 9;

    #[test]
    fn states_tell_what_happens() {
        let of = Change::of;
        assert_eq!(of(TCP_CLOSE, TCP_LISTEN), Some(Change::Listening));
        assert_eq!(of(TCP_SYN_RECV, TCP_ESTABLISHED), Some(Change::Arrived));
        assert_eq!(of(TCP_CLOSE, TCP_SYN_SENT), Some(Change::Connecting));
        assert_eq!(of(TCP_SYN_SENT, TCP_ESTABLISHED), Some(Change::Connected));
        assert_eq!(of(TCP_ESTABLISHED, TCP_FIN_WAIT1), Some(Change::Ended));
        assert_eq!(of(TCP_ESTABLISHED, TCP_CLOSE_WAIT), Some(Change::Ended));
        assert_eq!(of(TCP_LAST_ACK, TCP_CLOSE), Some(Change::Closed));
        // Reset, or refused.
        assert_eq!(of(TCP_ESTABLISHED, TCP_CLOSE), Some(Change::Closed));
        assert_eq!(of(TCP_SYN_SENT, TCP_CLOSE), Some(Change::Closed));
        assert_eq!(of(TCP_CLOSE_WAIT, TCP_LAST_ACK), None);
    }

    #[test]
    fn a_listener_is_no_connection() {
        // A child begins as a copy of its listener.
        assert_eq!(Change::of(TCP_LISTEN, TCP_SYN_RECV), None);
        assert_eq!(Change::of(TCP_LISTEN, TCP_CLOSE), None);
    }

    #[test]
    fn the_first_step_of_a_kind_counts_and_of_bytes_the_last_too() {
        let mut transfer = Transfer::default();
        for (step, now_ns) in [
            (Step::Established, 1),
            (Step::Accepted, 2),
            (Step::Sent, 3),
            (Step::Received, 4),
            (Step::Sent, 5),
            (Step::Ended, 6),
            (Step::Ended, 7),
        ] {
            transfer.note(step, now_ns);
        }
        let wanted = Transfer {
            established_ns: 1,
            accepted_ns: 2,
            first_byte_ns: 3,
            last_byte_ns: 5,
            ended_ns: 6,
            sent: 1,
            ..Transfer::default()
        };
        assert_eq!(transfer, wanted);
    }

    #[test]
    fn reading_nothing_and_reading_the_end_move_no_byte() {
        let mut transfer = Transfer {
            copied_seq: u32::MAX,
            ..Transfer::default()
        };
        transfer.read_up_to(u32::MAX, 1);
        assert_eq!(transfer.first_byte_ns, 0);
        transfer.read_up_to(0, 2);
        assert_eq!((transfer.first_byte_ns, transfer.last_byte_ns), (2, 2));
        transfer.note(Step::Ended, 3);
        transfer.read_up_to(9, 4);
        assert_eq!(transfer.last_byte_ns, 4);
        transfer.read_up_to(10, 5);
        assert_eq!(transfer.last_byte_ns, 4);
    }

    #[test]
    fn who_moved_the_first_byte_is_kept() {
        let mut transfer = Transfer::default();
        transfer.note(Step::Received, 1);
        transfer.note(Step::Sent, 2);
        assert_eq!((transfer.sent, transfer.last_byte_ns), (0, 2));
    }
}
