//! The names by which userspace finds what is in the eBPF object: maps, globals, programs. What lies
//! in the maps is said by the types beside.

/// Names of the maps in the eBPF object.
pub mod map {
    /// Hash of [`PinholeKey`](crate::abi::PinholeKey) to [`Pinhole`](crate::abi::Pinhole): the one table.
    pub const PINHOLES: &str = "PINHOLES";
    /// One [`Ports`](crate::abi::Ports), shared with userspace by mmap.
    pub const PORTS: &str = "PORTS";
    /// Array of [`Tuple`](crate::abi::Tuple): connections the kernel was found to have.
    pub const ESTABLISHED: &str = "ESTABLISHED";
    /// Set of the host's own [`Address`](crate::abi::Address)es; asked on hosts that forward.
    pub const LOCAL_ADDRESSES: &str = "LOCAL_ADDRESSES";
    /// Per-CPU array of `u64`, one for each [`Reason`](crate::reason::Reason).
    pub const COUNTERS: &str = "COUNTERS";
    /// Ring buffer of [`Event`](crate::abi::Event)s.
    pub const EVENTS: &str = "EVENTS";
    /// Per-CPU array of `u32`, by [`budget`](crate::abi::budget): how many more denials this CPU may
    /// report before userspace grants more.
    pub const DENIAL_BUDGET: &str = "DENIAL_BUDGET";
    /// Listening sockets that `steer` hands connections to: IPv4 at 0, IPv6 at 1.
    pub const LISTENERS: &str = "LISTENERS";
    /// Array of `u16`: their ports, in network byte order, in the same places.
    pub const LISTENER_PORTS: &str = "LISTENER_PORTS";
    /// Guard: hash of a listening socket's address in the kernel to [`Data`](crate::abi::Data).
    pub const DATA_PORTS: &str = "DATA_PORTS";
    /// Guard: array of `u32`, how many data ports of a number are listened on.
    pub const DATA_PORT_COUNTS: &str = "DATA_PORT_COUNTS";
    /// Guard: array of `u64`, one bit a port: the ports that are guarded in any case.
    pub const RANGE: &str = "RANGE";
    /// Guard: array of `u64`, one bit a port: the ports of control connections.
    pub const CONTROL_PORTS: &str = "CONTROL_PORTS";
    /// Guard: set of the addresses in the kernel of the control connections' sockets.
    pub const CONTROL_SOCKETS: &str = "CONTROL_SOCKETS";
    /// Guard: array of `u32`, see [`control_count`](crate::abi::control_count).
    pub const CONTROL_COUNT: &str = "CONTROL_COUNT";
    /// Guard: LRU hash of a thread (`bpf_get_current_pid_tgid`) to the control connection that it
    /// read from last, a [`LastRead`](crate::guard::LastRead).
    pub const LAST_READ: &str = "LAST_READ";
    /// Guard: hash of [`DataPort`](crate::abi::DataPort)s that were there before the guard to
    /// [`Data`](crate::abi::Data), because their sockets' addresses are not known.
    pub const SEEDED: &str = "SEEDED";
    /// Guard: per-CPU array of `u64`, one for each [`Tally`](crate::guard::Tally).
    pub const TALLIES: &str = "TALLIES";
    /// Guard: set of the [`Address`](crate::abi::Address)es, masked, that have a control connection to
    /// this host; asked only under [`policy::ADMIT_PEERS`](crate::abi::policy::ADMIT_PEERS).
    pub const PEERS: &str = "PEERS";

    /// Trace: ring buffer of [`Opening`](crate::abi::Opening)s and [`Transfer`](crate::abi::Transfer)s.
    pub const STEPS: &str = "STEPS";
    /// Trace: array of one `u64`, records for which there was no room.
    pub const LOST: &str = "LOST";
    /// Trace: hash of a socket's address in the kernel to a [`Transfer`](crate::abi::Transfer).
    pub const FOLLOWED: &str = "FOLLOWED";
    /// Trace: LRU hash of ports that may be data ports.
    pub const AWAITED: &str = "AWAITED";
    /// Trace: hash of a thread to the [`Opening`](crate::abi::Opening) that it is about to make.
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
    /// Guard: [`Layout`](crate::abi::Layout).
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
