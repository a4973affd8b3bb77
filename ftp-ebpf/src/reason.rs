//! Every outcome a packet can have: its number, its action, its name. A new outcome is a new
//! line here, and gets a counter by that alone.

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// On to the rest of the network stack, untouched.
    Pass,
    /// On to the stack, as part of a data connection (or of another local connection inside the
    /// guarded range): carries the firewall mark where one is configured.
    Admit,
    /// No further.
    Drop,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident $action:ident $text:literal,)+) => {
        /// Why a packet was passed, admitted or dropped. The number is the index of its counter.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// All of them, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// What it means for the packet.
            #[inline(always)]
            pub const fn action(self) -> Action {
                match self {
                    $(Self::$name => Action::$action,)+
                }
            }

            /// Its name in counters, logs and reports.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// From the number in an event.
            pub fn from_u32(number: u32) -> Option<Self> {
                Self::ALL.get(number as usize).copied()
            }
        }
    };
}

reasons! {
    /// Neither IPv4 nor IPv6 (ARP, LLDP, …).
    NotIp Pass "not-ip",
    /// IP, but not TCP: ICMP, neighbour discovery, UDP, tunnels.
    NotTcp Pass "not-tcp",
    /// TCP to a port that is none of ours.
    NotGuarded Pass "not-guarded",
    /// To a guarded port of somebody else: this host only forwards it.
    NotLocal Pass "not-local",
    /// A fragment other than the first: inert, because the first decides.
    LaterFragment Pass "later-fragment",
    /// Belongs to no local connection, on a host that masquerades: may be a reply to a guest.
    StrayPassed Pass "stray-passed",
    /// A SYN that its pinhole admits.
    PinholeSyn Admit "pinhole-syn",
    /// A segment of a connection remembered in the cache.
    EstablishedCached Admit "established-cached",
    /// A segment of a connection that the kernel has a socket for.
    Established Admit "established",
    /// The last step of a handshake by SYN cookie: no socket yet, but the pinhole is claimed.
    CookieAck Admit "cookie-ack",
    /// A lookup of a socket that was led to the listener that waits. This and the next count lookups,
    /// not packets: the kernel's own for a segment that belongs to no connection, and before it the
    /// lock's, where the lock asks for a socket (net/ipv4/inet_hashtables.c).
    Steered Admit "steered",
    /// A lookup on a guarded port that no pinhole answers for: left to the kernel's own sockets.
    NotSteered Pass "not-steered",
    /// A SYN to a guarded port where no pinhole waits.
    Closed Drop "closed",
    /// A SYN to a waiting port from a client, or to an address, without a pinhole there.
    WrongClient Drop "wrong-client",
    /// A SYN to a pinhole past its deadline.
    Expired Drop "expired",
    /// A SYN to a pinhole that another source port has taken.
    Claimed Drop "claimed",
    /// A segment that belongs to no connection of this host.
    Stray Drop "stray",
    /// A segment that no TCP sends: FIN, NULL or XMAS without ACK, SYN with FIN or RST.
    Probe Drop "probe",
    /// Ends before it is known not to be TCP to a guarded port.
    Truncated Drop "truncated",
    /// A header that contradicts itself on the way to a guarded port.
    Malformed Drop "malformed",
    /// A first fragment too short for the TCP header (RFC 1858, RFC 8200 section 4.5).
    TinyFragment Drop "tiny-fragment",
    /// More IPv6 extension headers or VLAN tags than are walked.
    TooManyHeaders Drop "too-many-headers",
    /// A connection attempt to the listener of the passive data connections itself: none comes to it
    /// but those that are handed to it, whatever port they name.
    InternalListener Drop "internal-listener",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_a_bijection() {
        for (number, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, number);
            assert_eq!(Reason::from_u32(number as u32), Some(*reason));
            let same = Reason::ALL
                .iter()
                .filter(|r| r.name() == reason.name())
                .count();
            assert_eq!(same, 1, "{}", reason.name());
        }
        assert_eq!(Reason::from_u32(Reason::ALL.len() as u32), None);
    }
}
