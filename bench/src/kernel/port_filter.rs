//! The least that a filter of ports can be: it reads what it must of Ethernet, IPv4 and TCP, and drops what goes to
//! a range of ports. No table, no IPv6, no options, no fragments: what it costs above a program that drops without
//! looking is the first look at a packet that another core has written.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use ftp_tests::frame::{Flags, Segment};

use super::{
    bpf::{Hook, Program},
    instruction::{
        Instruction, R0, R1, R2, R3, R7, Register, add, copy, exit, load_8, load_16, load_32, set,
        skip_if_greater, skip_unless, to_network_16,
    },
};

/// include/uapi/linux/bpf.h, `enum xdp_action`.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

impl Program {
    /// Drops TCP over IPv4 to the ports from `first` to `last`, lets everything else pass; tried on a packet of each
    /// kind.
    pub(crate) fn port_filter(first: u16, last: u16) -> Result<Self> {
        let program = Self::load(Hook::Xdp, &instructions(first, last))
            .context("the kernel refuses the port filter")?;
        for (port, wanted) in [
            (first, XDP_DROP),
            (last, XDP_DROP),
            (first - 1, XDP_PASS),
            (last + 1, XDP_PASS),
        ] {
            let syn = Segment {
                from: (Ipv4Addr::LOCALHOST, 1024).into(),
                to: (Ipv4Addr::LOCALHOST, port).into(),
                flags: Flags::SYN,
                seq: 0,
                ack: 0,
            };
            let verdict = program.verdict(&syn.frame([2; 6], [4; 6])?)?;
            ensure!(
                verdict == wanted,
                "the port filter for {first}-{last} says {verdict} of port {port}, not {wanted}"
            );
        }
        Ok(program)
    }
}

fn instructions(first: u16, last: u16) -> Vec<Instruction> {
    // Offsets in Ethernet, IPv4 without options and TCP.
    const ETHER_TYPE: i16 = 12;
    const VERSION: i16 = 14;
    const PROTOCOL: i16 = 23;
    const PORT: i16 = 36;
    let mut code = vec![
        // struct xdp_md: data, data_end.
        load_32(R7, R1, 0),
        load_32(R3, R1, 4),
        copy(R2, R7),
        add(R2, 38),
    ];
    // Each condition passes the packet on where it does not hold: over what is left of the body.
    let body = [
        Check::AtMost(R2, R3),
        Check::Do(load_16(R1, R7, ETHER_TYPE)),
        Check::Is(i32::from(0x0800_u16.to_be())),
        Check::Do(load_8(R1, R7, VERSION)),
        Check::Is(0x45),
        Check::Do(load_8(R1, R7, PROTOCOL)),
        Check::Is(6),
        Check::Do(load_16(R1, R7, PORT)),
        Check::Do(to_network_16(R1)),
        Check::Do(set(R2, i32::from(first))),
        Check::AtMost(R2, R1),
        Check::Do(set(R2, i32::from(last))),
        Check::AtMost(R1, R2),
        Check::Do(set(R0, XDP_DROP.cast_signed())),
        Check::Do(exit()),
    ];
    let length = body.len();
    code.extend(body.into_iter().enumerate().map(|(place, check)| {
        let rest = i16::try_from(length - place - 1).unwrap_or(i16::MAX);
        match check {
            Check::Do(instruction) => instruction,
            Check::Is(value) => skip_unless(R1, value, rest),
            Check::AtMost(small, large) => skip_if_greater(small, large, rest),
        }
    }));
    code.extend([set(R0, XDP_PASS.cast_signed()), exit()]);
    code
}

/// A line of the body.
enum Check {
    /// To be done in any case.
    Do(Instruction),
    /// Goes on if r1 is this.
    Is(i32),
    /// Goes on if the first is at most the second.
    AtMost(Register, Register),
}
