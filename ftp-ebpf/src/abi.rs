//! The layout that kernel and userspace share, written once: map keys, map values, events and
//! the names by which userspace finds the maps. No decision lives here.
//!
//! Every type is `repr(C)` without padding, so that its bytes may be hashed and compared by the
//! kernel. Fields that hold network byte order say so in their name (`_be`).

mod fingerprint;
mod guard;
mod trace;

pub use self::{
    fingerprint::FINGERPRINT,
    guard::{Data, DataPort, Layout},
    trace::{Opening, Transfer},
};

/// Names of the maps in the eBPF object.
pub mod map {
    /// Hash of [`PinholeKey`](super::PinholeKey) to [`Pinhole`](super::Pinhole): the one table.
    pub const PINHOLES: &str = "PINHOLES";
    /// One [`Ports`](super::Ports), shared with userspace by mmap.
    pub const PORTS: &str = "PORTS";
    /// Array of [`Tuple`](super::Tuple): connections the kernel was found to have.
    pub const ESTABLISHED: &str = "ESTABLISHED";
    /// Set of the host's own [`Address`](super::Address)es; asked on hosts that forward.
    pub const LOCAL_ADDRESSES: &str = "LOCAL_ADDRESSES";
    /// Per-CPU array of `u64`, one for each [`Reason`](crate::reason::Reason).
    pub const COUNTERS: &str = "COUNTERS";
    /// Ring buffer of [`Event`](super::Event)s.
    pub const EVENTS: &str = "EVENTS";
    /// Per-CPU array of one `u32`: how many more denials this CPU may report before userspace
    /// grants more.
    pub const DENIAL_BUDGET: &str = "DENIAL_BUDGET";
    /// Listening sockets that `steer` hands connections to: IPv4 at 0, IPv6 at 1.
    pub const LISTENERS: &str = "LISTENERS";
    /// Guard: hash of a listening socket's address in the kernel to [`Data`](super::Data).
    pub const DATA_PORTS: &str = "DATA_PORTS";
    /// Guard: array of `u32`, how many data ports of a number are listened on.
    pub const DATA_PORT_COUNTS: &str = "DATA_PORT_COUNTS";
    /// Guard: array of `u64`, one bit a port: the ports that are guarded in any case.
    pub const RANGE: &str = "RANGE";
    /// Guard: array of `u64`, one bit a port: the ports of control connections.
    pub const CONTROL_PORTS: &str = "CONTROL_PORTS";
    /// Guard: set of the addresses in the kernel of the control connections' sockets.
    pub const CONTROL_SOCKETS: &str = "CONTROL_SOCKETS";
    /// Guard: array of `u32`, see [`control_count`](super::control_count).
    pub const CONTROL_COUNT: &str = "CONTROL_COUNT";
    /// Guard: LRU hash of a thread (`bpf_get_current_pid_tgid`) to the control connection that it
    /// read from last, a [`LastRead`](crate::guard::LastRead).
    pub const LAST_READ: &str = "LAST_READ";
    /// Guard: hash of [`DataPort`](super::DataPort)s that were there before the guard to their
    /// pinhole, because their sockets' addresses are not known.
    pub const SEEDED: &str = "SEEDED";
    /// Guard: per-CPU array of `u64`, one for each [`Tally`](crate::guard::Tally).
    pub const TALLIES: &str = "TALLIES";
    /// Guard: set of the [`Address`](super::Address)es, masked, that have a control connection to
    /// this host; asked only under [`policy::ADMIT_PEERS`](super::policy::ADMIT_PEERS).
    pub const PEERS: &str = "PEERS";

    /// Trace: ring buffer of [`Opening`](super::Opening)s and [`Transfer`](super::Transfer)s.
    pub const STEPS: &str = "STEPS";
    /// Trace: array of one `u64`, records for which there was no room.
    pub const LOST: &str = "LOST";
    /// Trace: hash of a socket's address in the kernel to a [`Transfer`](super::Transfer).
    pub const FOLLOWED: &str = "FOLLOWED";
    /// Trace: LRU hash of ports that may be data ports.
    pub const AWAITED: &str = "AWAITED";
    /// Trace: hash of a thread to the [`Opening`](super::Opening) that it is about to make.
    pub const OPENING: &str = "OPENING";

    /// Trace: those that would be large for nothing where nobody traces.
    pub const LARGE_OF_TRACE: [&str; 3] = [FOLLOWED, AWAITED, OPENING];
    /// Guard: those that would be large for nothing where there is no guard.
    pub const LARGE_OF_GUARD: [&str; 2] = [DATA_PORT_COUNTS, LAST_READ];
    /// Guard: those that go on when one guard takes over from another.
    pub const KEPT: [&str; 17] = [
        PINHOLES,
        PORTS,
        ESTABLISHED,
        LOCAL_ADDRESSES,
        COUNTERS,
        EVENTS,
        DENIAL_BUDGET,
        DATA_PORTS,
        DATA_PORT_COUNTS,
        RANGE,
        CONTROL_PORTS,
        CONTROL_SOCKETS,
        CONTROL_COUNT,
        LAST_READ,
        SEEDED,
        TALLIES,
        PEERS,
    ];
}

/// What is at which index of [`map::CONTROL_COUNT`]. Where all is 0, no process has a control
/// connection.
pub mod control_count {
    /// Those in [`map::CONTROL_SOCKETS`](super::map::CONTROL_SOCKETS), kept by the kernel half.
    pub const SEEN: u32 = 0;
    /// 1 while there may be some that began before the guard, kept by userspace.
    pub const OLDER: u32 = 1;
    /// How many there are.
    pub const ENTRIES: u32 = 2;
}

/// Names of the read-only globals that userspace sets before the programs are loaded.
pub mod global {
    /// `u32`, network byte order: bits of an IPv4 client address that must match.
    pub const CLIENT_MASK_V4: &str = "CLIENT_MASK_V4";
    /// `[u32; 4]`, network byte order: bits of an IPv6 client address that must match.
    pub const CLIENT_MASK_V6: &str = "CLIENT_MASK_V6";
    /// `u32`: the firewall mark for admitted data packets; 0 marks nothing.
    pub const MARK: &str = "MARK";
    /// `u32`: whether claims, and pinholes that a guard opens, wake the daemon, which only logs
    /// them.
    pub const TELL_ALL: &str = "TELL_ALL";
    /// Guard: [`Layout`](super::Layout).
    pub const LAYOUT: &str = "LAYOUT";
    /// Guard: `u32`, inode number of the network namespace that is guarded.
    pub const NAMESPACE: &str = "NAMESPACE";
    /// Trace: `u32`, the process of our own server; 0 for a guard's.
    pub const SERVER: &str = "SERVER";
    /// Trace: `u32`, that server's descriptor of [`map::PINHOLES`](super::map::PINHOLES).
    pub const SERVER_TABLE: &str = "SERVER_TABLE";
}

/// Names of the programs in the eBPF object.
pub mod program {
    /// XDP, native or generic.
    pub const XDP_ADMIT: &str = "xdp_admit";
    /// Traffic control, ingress.
    pub const TCX_ADMIT: &str = "tcx_admit";
    /// The same, where packets begin with the IP header.
    pub const TCX_ADMIT_IP: &str = "tcx_admit_ip";
    /// Socket lookup.
    pub const STEER: &str = "steer";
    /// Guard: tracepoint `sock:inet_sock_set_state`.
    pub const GUARD_STATE: &str = "guard_state";
    /// Guard: tracepoint `sock:sock_recv_length`.
    pub const GUARD_READ: &str = "guard_read";

    /// Trace: program and tracepoint, whichever negotiates.
    pub const TRACE: [(&str, &str, &str); 5] = [
        ("trace_state", "sock", "inet_sock_set_state"),
        ("trace_accepted", "syscalls", "sys_exit_accept"),
        ("trace_accepted", "syscalls", "sys_exit_accept4"),
        ("trace_sent", "sock", "sock_send_length"),
        ("trace_received", "tcp", "tcp_rcv_space_adjust"),
    ];
    /// Trace: program and tracepoint, beside, where our own server negotiates.
    pub const TRACE_SERVER: [(&str, &str, &str); 2] = [
        ("trace_bpf_enter", "syscalls", "sys_enter_bpf"),
        ("trace_bpf_exit", "syscalls", "sys_exit_bpf"),
    ];
}

/// An IPv6 address, or an IPv4 address mapped into one (RFC 4291, section 2.5.5.2), as four
/// words whose bytes lie in network order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Address(pub [u32; 4]);

impl Address {
    /// The word that tells a mapped IPv4 address, `::ffff:0:0/96`.
    const MAPPED: u32 = 0xffff_u32.to_be();

    /// Maps an IPv4 address whose bytes lie in network order.
    #[inline(always)]
    pub const fn v4(addr_be: u32) -> Self {
        Self([0, 0, Self::MAPPED, addr_be])
    }

    /// Whether this is a mapped IPv4 address.
    #[inline(always)]
    pub const fn is_v4(&self) -> bool {
        self.0[0] == 0 && self.0[1] == 0 && self.0[2] == Self::MAPPED
    }

    /// Whether this is `127.0.0.0/8` or `::1`: local on every host, without being listed.
    #[inline(always)]
    pub const fn is_loopback(&self) -> bool {
        if self.is_v4() {
            self.0[3].to_ne_bytes()[0] == 127
        } else {
            self.0[0] == 0 && self.0[1] == 0 && self.0[2] == 0 && self.0[3] == 1_u32.to_be()
        }
    }

    /// From the sixteen bytes of an IPv6 address.
    pub const fn from_octets(o: [u8; 16]) -> Self {
        Self([
            u32::from_ne_bytes([o[0], o[1], o[2], o[3]]),
            u32::from_ne_bytes([o[4], o[5], o[6], o[7]]),
            u32::from_ne_bytes([o[8], o[9], o[10], o[11]]),
            u32::from_ne_bytes([o[12], o[13], o[14], o[15]]),
        ])
    }

    /// To the sixteen bytes of an IPv6 address.
    pub const fn octets(&self) -> [u8; 16] {
        let (a, b) = (self.0[0].to_ne_bytes(), self.0[1].to_ne_bytes());
        let (c, d) = (self.0[2].to_ne_bytes(), self.0[3].to_ne_bytes());
        [
            a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], //
            c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3],
        ]
    }
}

impl From<core::net::IpAddr> for Address {
    fn from(addr: core::net::IpAddr) -> Self {
        match addr {
            core::net::IpAddr::V4(v4) => Self::from_octets(v4.to_ipv6_mapped().octets()),
            core::net::IpAddr::V6(v6) => Self::from_octets(v6.octets()),
        }
    }
}

impl From<Address> for core::net::IpAddr {
    fn from(addr: Address) -> Self {
        core::net::Ipv6Addr::from(addr.octets()).to_canonical()
    }
}

/// Which bits of a client's address must match: all of them, unless the administrator allows
/// data connections from elsewhere in the client's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientMask {
    /// For IPv4, network byte order.
    pub v4: u32,
    /// For IPv6, network byte order.
    pub v6: [u32; 4],
}

impl ClientMask {
    /// The whole address: /32 and /128.
    pub const EXACT: Self = Self {
        v4: u32::MAX,
        v6: [u32::MAX; 4],
    };

    /// From prefix lengths; a length beyond the address means all of it.
    pub const fn from_prefixes(v4: u8, v6: u8) -> Self {
        const fn word(bits: u8) -> u32 {
            match u32::MAX.checked_shl(32_u32.saturating_sub(bits as u32)) {
                Some(mask) => mask.to_be(),
                None => 0,
            }
        }
        Self {
            v4: word(v4),
            v6: [
                word(v6),
                word(v6.saturating_sub(32)),
                word(v6.saturating_sub(64)),
                word(v6.saturating_sub(96)),
            ],
        }
    }

    /// The address with the bits that need not match set to zero.
    #[inline(always)]
    pub const fn apply(&self, client: Address) -> Address {
        let a = client.0;
        if client.is_v4() {
            Address([a[0], a[1], a[2], a[3] & self.v4])
        } else {
            let m = self.v6;
            Address([a[0] & m[0], a[1] & m[1], a[2] & m[2], a[3] & m[3]])
        }
    }
}

/// A connection as the host sees it: the client is the remote end.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tuple {
    /// Remote address.
    pub client: Address,
    /// Local address.
    pub server: Address,
    /// Remote port, network byte order.
    pub client_port_be: u16,
    /// Local port, network byte order.
    pub server_port_be: u16,
}

impl Tuple {
    /// How many connections [`map::ESTABLISHED`] remembers, a power of two. All of it fits into a
    /// core's second-level cache: a flood of segments touches a slot each.
    pub const SLOTS: u32 = 1 << 14;

    /// The pinhole that this connection would need.
    #[inline(always)]
    pub const fn key(&self, mask: &ClientMask) -> PinholeKey {
        PinholeKey {
            client: mask.apply(self.client),
            server: self.server,
            port_be: self.server_port_be,
            zero: 0,
        }
    }

    /// Whether both are the same, compared word by word. A comparison of the whole becomes loads of
    /// eight bytes on this target, which wait for the two stores of four that they need.
    #[inline(always)]
    pub const fn is(&self, other: &Self) -> bool {
        let (a, b) = (&self.client.0, &other.client.0);
        let client = (a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]);
        let (a, b) = (&self.server.0, &other.server.0);
        let server = (a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]);
        let ports = (self.client_port_be ^ other.client_port_be)
            | (self.server_port_be ^ other.server_port_be);
        client | server | ports as u32 == 0
    }

    /// Where [`map::ESTABLISHED`] remembers this connection. Both ports, because one server port
    /// serves many clients at a time.
    #[inline(always)]
    pub const fn slot(&self) -> u32 {
        (self.client_port_be ^ self.server_port_be) as u32 & (Self::SLOTS - 1)
    }
}

/// "This client may open one data connection to this server address and port."
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PinholeKey {
    /// Masked by [`ClientMask`].
    pub client: Address,
    /// The local address that the client was told, or the control connection's.
    pub server: Address,
    /// Network byte order.
    pub port_be: u16,
    /// Always 0; the kernel hashes every byte of a key.
    pub zero: u16,
}

impl PinholeKey {
    /// The row of a data port that any client with a control connection may come to, at whichever
    /// address.
    #[inline(always)]
    pub const fn of_peers(port_be: u16) -> Self {
        Self {
            client: Address([0; 4]),
            server: Address([0; 4]),
            port_be,
            zero: 0,
        }
    }
}

/// A row of [`map::PINHOLES`]. Userspace inserts and removes rows and never changes one; the
/// kernel only ever swaps [`Pinhole::claim`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pinhole {
    /// The session that negotiated it.
    pub session: u64,
    /// `CLOCK_MONOTONIC` nanoseconds from which on the row admits nobody.
    pub deadline_ns: u64,
    /// Which source port has taken the row.
    pub claim: Claim,
}

/// Who took a pinhole, and when: one word, so that taking it is one compare-and-swap.
///
/// The low 16 bits are the source port in network byte order, the others `CLOCK_MONOTONIC`
/// milliseconds. Zero is free: no TCP client has source port 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim(pub u64);

impl Claim {
    /// Taken by nobody.
    pub const FREE: Self = Self(0);
    /// How long a claim keeps others out while its handshake is not complete. A data connection
    /// that completes is accepted and its row removed long before.
    pub const LIFETIME_NS: u64 = 5_000_000_000;
    const NS_PER_MS: u64 = 1_000_000;

    /// Taken by `client_port_be` at `now_ns`.
    #[inline(always)]
    pub const fn new(client_port_be: u16, now_ns: u64) -> Self {
        Self((now_ns / Self::NS_PER_MS) << 16 | client_port_be as u64)
    }

    /// The source port that took it, network byte order; 0 while free.
    #[inline(always)]
    pub const fn client_port_be(self) -> u16 {
        self.0 as u16
    }

    /// Whether this source port holds it.
    #[inline(always)]
    pub const fn is_by(self, client_port_be: u16) -> bool {
        self.0 != 0 && self.client_port_be() == client_port_be
    }

    /// Whether another source port may take it at `now_ns`.
    #[inline(always)]
    pub const fn is_free(self, now_ns: u64) -> bool {
        let taken_ns = (self.0 >> 16).wrapping_mul(Self::NS_PER_MS);
        self.0 == 0 || now_ns.saturating_sub(taken_ns) > Self::LIFETIME_NS
    }
}

/// The only value of [`map::PORTS`]. Userspace writes it through mmap, a word at a time; the
/// kernel reads single words. No two words need to change together.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// Bits of [`policy`].
    pub policy: u64,
    /// Ports that are shut unless negotiated, one bit each, by [`Ports::word`] and [`Ports::bit`].
    pub guarded: [u64; Ports::WORDS],
    /// Ports for which at least one pinhole waits. A bit may outlive its pinhole for a moment; it
    /// is always set before the pinhole is promised to a client.
    pub waiting: [u64; Ports::WORDS],
}

impl Ports {
    /// 65,536 bits.
    pub const WORDS: usize = 1024;

    /// Index of the word that holds `port` (host byte order).
    #[inline(always)]
    pub const fn word(port: u16) -> usize {
        (port >> 6) as usize
    }

    /// `port`'s bit in its word.
    #[inline(always)]
    pub const fn bit(port: u16) -> u64 {
        1 << (port & 63)
    }
}

/// Bits of [`Ports::policy`]: what the daemon found out about the host.
pub mod policy {
    /// The host forwards: only packets to [`super::map::LOCAL_ADDRESSES`] are policed.
    pub const CHECK_LOCAL: u64 = 1;
    /// Segments to a guarded port that belong to no local connection may be replies to
    /// masqueraded ones: pass them.
    pub const PASS_STRAY: u64 = 2;
    /// Nothing is dropped: what would be is counted and reported, and passes.
    pub const DRY_RUN: u64 = 4;
    /// A data port of nobody knows which client admits every client with a control connection:
    /// [`super::PinholeKey::of_peers`].
    pub const ADMIT_PEERS: u64 = 8;
}

/// What happened, as [`Event::kind`] carries it.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A pinhole was opened.
    Opened = 1,
    /// A source port took a pinhole.
    Claimed = 2,
    /// A packet was dropped; the reason says why.
    Denied = 3,
    /// Guard: a control connection was established.
    Arrived = 4,
    /// Guard: a data port that could not be opened for its client alone; [`Event::reason`] is a
    /// [`Tally`](crate::guard::Tally), the upper half of [`Event::session`] the process.
    Unresolved = 5,
}

impl EventKind {
    /// From the number in an [`Event`].
    pub const fn from_u32(kind: u32) -> Option<Self> {
        match kind {
            1 => Some(Self::Opened),
            2 => Some(Self::Claimed),
            3 => Some(Self::Denied),
            4 => Some(Self::Arrived),
            5 => Some(Self::Unresolved),
            _ => None,
        }
    }
}

/// A record of [`map::EVENTS`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub time_ns: u64,
    /// The session whose pinhole it is; 0 where there is none.
    pub session: u64,
    /// An [`EventKind`].
    pub kind: u32,
    /// A [`Reason`](crate::reason::Reason), or what the kind says.
    pub reason: u32,
    /// Who and where; zero where the packet could not be read so far.
    pub tuple: Tuple,
    /// Always 0.
    pub zero: u32,
}

#[cfg(feature = "user")]
mod pod {
    //! aya copies these to and from the kernel byte by byte.
    use super::{Address, Pinhole, PinholeKey, Ports, Tuple};

    // SAFETY: repr(C), integers only, and no padding (asserted below), so every byte is
    // initialised and every bit pattern is a value.
    unsafe impl aya::Pod for Address {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Pinhole {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Ports {}
    // SAFETY: as above.
    unsafe impl aya::Pod for PinholeKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Tuple {}
}

const _: () = {
    assert!(size_of::<Address>() == 16);
    assert!(size_of::<Tuple>() == 36);
    assert!(size_of::<PinholeKey>() == 36);
    assert!(size_of::<Pinhole>() == 24);
    assert!(size_of::<Ports>() == 8 + 2 * 8192);
    assert!(size_of::<Event>() == 64);
};

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_survive_the_way_there_and_back() {
        for addr in [
            IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        ] {
            let there = Address::from(addr);
            assert_eq!(IpAddr::from(there), addr);
            assert_eq!(there.is_v4(), addr.is_ipv4());
        }
    }

    #[test]
    fn loopback_needs_no_list() {
        let is = |text: &str| Address::from(ip(text)).is_loopback();
        assert!(is("127.0.0.1") && is("127.9.9.9") && is("::1"));
        assert!(!is("128.0.0.1") && !is("::2") && !is("10.127.0.1"));
    }

    #[test]
    fn masks_keep_the_prefix_only() {
        let mask = ClientMask::from_prefixes(24, 60);
        let masked = |text: &str| IpAddr::from(mask.apply(ip(text).into()));
        assert_eq!(masked("192.0.2.77"), ip("192.0.2.0"));
        assert_eq!(masked("2001:db8:1:23ff::9"), ip("2001:db8:1:23f0::"));
        assert_eq!(ClientMask::from_prefixes(32, 128), ClientMask::EXACT);
        let nothing = ClientMask::from_prefixes(0, 0);
        assert_eq!((nothing.v4, nothing.v6), (0, [0; 4]));
    }

    #[test]
    fn a_claim_expires() {
        let claim = Claim::new(0x1234, 7_000_000_000);
        assert_eq!(claim.client_port_be(), 0x1234);
        assert!(!claim.is_free(7_000_000_000));
        assert!(!claim.is_free(7_000_000_000 + Claim::LIFETIME_NS));
        assert!(claim.is_free(7_000_000_001 + Claim::LIFETIME_NS));
        // A clock read before another CPU's claim is no reason to take it away.
        assert!(!claim.is_free(6_999_000_000));
        assert!(Claim::FREE.is_free(0));
        assert!(claim.is_by(0x1234) && !claim.is_by(0x1235) && !Claim::FREE.is_by(0));
    }
}
